"""float64 in the place of float32, in this thread only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

_WIDER = {torch.float32: torch.float64, torch.complex64: torch.complex128}
_DOUBLES: dict[Callable[..., Any], Callable[..., Any]] = {
    # PyTorch's stubs leave out the second pair.
    getattr(torch.Tensor, single): getattr(torch.Tensor, double)
    for single, double in (("float", "double"), ("cfloat", "cdouble"))
}


class DefaultFloat64(TorchFunctionMode):
    """Within it, what a call makes float32 is float64: by default, or because the call says so.

    New tensors and quotients of integers are float32 by default; ``.float()`` and ``dtype=`` say
    so, as a network of float32 weights does for positions that it computes. What a call takes from
    its arguments stays, and so do bits that are read as float32. Python alone is seen:
    ``torch.Tensor(…)`` and new tensors in native code stay float32.

    ``torch.set_default_dtype`` would change the type for the whole process, and with it the tensors
    that the caller's other threads make meanwhile.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, and once more with float64 where its result is float32 by default."""
        kwargs = dict(kwargs or {})
        if func in _DOUBLES:
            func = _DOUBLES[func]
        elif func is not torch.Tensor.view:
            args, kwargs = tree_map_only(torch.dtype, _double, (args, kwargs))
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or result.dtype is not torch.float32:
            return result
        if any(map(_states_a_type, tree_leaves((args, kwargs)))):
            return result
        try:
            if any(map(_counts, tree_leaves((args, kwargs)))):
                args, kwargs = tree_map_only(_counts, torch.Tensor.double, (args, kwargs))
                return func(*args, **kwargs)
            return func(*args, **kwargs, dtype=torch.float64)
        except (TypeError, RuntimeError):  # it takes no type, or the integers are indices
            return result.double()


def _counts(value: object) -> bool:
    """Whether it is a tensor of integers."""
    if not isinstance(value, torch.Tensor) or value.dtype is torch.bool:
        return False
    return not (value.is_floating_point() or value.is_complex())


def _double(dtype: torch.dtype) -> torch.dtype:
    return _WIDER.get(dtype, dtype)


def _states_a_type(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, (torch.dtype, str))
