"""float64 as the default type of floating-point numbers, in this thread only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only


class DefaultFloat64(TorchFunctionMode):
    """Within it, what is float32 only by default is float64: new tensors, quotients of integers.

    ``torch.set_default_dtype`` would change the type for the whole process, and with it the tensors
    that the caller's other threads make meanwhile. What a call states or takes from its arguments
    stays. Python alone is seen: ``torch.Tensor(…)`` and new tensors in native code stay float32.
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
        result = func(*args, **kwargs)
        if not isinstance(result, torch.Tensor) or result.dtype is not torch.float32:
            return result
        if func is torch.Tensor.float or any(map(_states_a_type, tree_leaves((args, kwargs)))):
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


def _states_a_type(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, (torch.dtype, str))
