"""PyTorch's kernels in the place of the slow ones of ONNX's reference implementation.

Its convolutions and pools are loops of Python over windows, which take minutes in a detector, and
its Erf computes in float32. These compute the same in the type of their inputs, for operators of
ai.onnx in every version. Settings that PyTorch does not have are left to ONNX's own.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_conv, op_conv_transpose, op_max_pool
from onnx.reference.ops.op_average_pool import AveragePool_19
from torch.nn import functional

from edgeconv.export.window_pads import Sides, Windows

Array = npt.NDArray[Any]
Settings = Mapping[str, Any]

Kernels = tuple[Callable[..., torch.Tensor], ...]

_CONVOLUTIONS: Kernels = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED: Kernels = (
    *(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d),
)
_MAX_POOLS: Kernels = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGE_POOLS: Kernels = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


class _Kernel(OpRun):
    """An operator over windows in 1 to 3 dimensions.

    Attributes:
        theirs: ONNX's own implementation.
    """

    theirs: ClassVar[Any]

    def __init__(
        self, onnx_node: onnx.NodeProto, run_params: dict[str, Any], schema: Any = None
    ) -> None:
        super().__init__(onnx_node, run_params, schema)
        self._theirs = self.theirs(onnx_node, run_params)

    def _run(self, *inputs: Any, **settings: Any) -> tuple[Array, ...]:
        x = inputs[0]
        known = x.dtype in (np.float32, np.float64) and 3 <= x.ndim <= 5
        if known and self._has(settings):
            window = settings.get("kernel_shape") or inputs[1].shape[2:]
            settings = settings | {"pads": _pads(x.shape[2:], window, settings)}
            tensors = [torch.tensor(each) for each in inputs if each is not None]
            return (self._compute(settings, *tensors).numpy(),)
        return tuple(self._theirs._run(*inputs, **settings))

    def _has(self, settings: Settings) -> bool:
        """Whether PyTorch has these settings."""
        return not settings.get("ceil_mode")

    @abstractmethod
    def _compute(self, settings: Settings, *inputs: torch.Tensor) -> torch.Tensor:
        """The result by PyTorch."""


class Conv(_Kernel):
    """A convolution."""

    theirs = op_conv.Conv

    def _compute(self, settings: Settings, *inputs: torch.Tensor) -> torch.Tensor:
        x, *weights = inputs
        padded, groups = _padded(x, settings, 0.0), settings.get("group") or 1
        convolve = _CONVOLUTIONS[x.ndim - 3]
        return convolve(padded, *weights, groups=groups, **_moves(x, settings))


class ConvTranspose(_Kernel):
    """A transposed convolution."""

    theirs = op_conv_transpose.ConvTranspose

    def _has(self, settings: Settings) -> bool:
        padded = (settings.get("auto_pad") or "NOTSET") != "NOTSET"
        return not padded and not settings.get("output_shape")

    def _compute(self, settings: Settings, *inputs: torch.Tensor) -> torch.Tensor:
        x, w, *bias = inputs
        groups = settings.get("group") or 1
        found = _TRANSPOSED[x.ndim - 3](x, w, groups=groups, **_moves(x, settings))
        more = settings.get("output_padding") or [0] * (x.ndim - 2)
        pads = zip(settings["pads"], more, strict=True)
        found = functional.pad(found, _from_last([(-a, extra - z) for (a, z), extra in pads]))
        return found + bias[0].reshape(-1, *[1] * (x.ndim - 2)) if bias else found


class MaxPool(_Kernel):
    """A maximum over windows."""

    theirs = op_max_pool.MaxPool

    def _has(self, settings: Settings) -> bool:
        return super()._has(settings) and len(self.onnx_node.output) == 1

    def _compute(self, settings: Settings, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        padded = _padded(x, settings, -math.inf)
        return _MAX_POOLS[x.ndim - 3](padded, settings["kernel_shape"], **_moves(x, settings))


class AveragePool(_Kernel):
    """A mean over windows."""

    theirs = AveragePool_19

    def _has(self, settings: Settings) -> bool:
        wide = any(each != 1 for each in settings.get("dilations") or ())
        return super()._has(settings) and not wide

    def _compute(self, settings: Settings, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        stride = _moves(x, settings)["stride"]

        def means(values: torch.Tensor) -> torch.Tensor:
            padded = _padded(values, settings, 0.0)
            return _AVERAGE_POOLS[x.ndim - 3](padded, settings["kernel_shape"], stride)

        found = means(x)
        return found if settings.get("count_include_pad") else found / means(torch.ones_like(x))


class Erf(OpRun):
    """The error function."""

    def _run(self, *inputs: Any, **settings: Any) -> tuple[Array, ...]:
        return (torch.erf(torch.tensor(inputs[0])).numpy(),)


KERNELS: list[type[OpRun]] = [Conv, ConvTranspose, MaxPool, AveragePool, Erf]


def _moves(x: torch.Tensor, settings: Settings) -> dict[str, list[int]]:
    """How far windows and the values in them are apart, in each dimension."""
    ones = [1] * (x.ndim - 2)
    return {
        "stride": settings.get("strides") or ones,
        "dilation": settings.get("dilations") or ones,
    }


def _pads(size: Sequence[int], kernel: Sequence[int], settings: Settings) -> tuple[Sides, ...]:
    """What is added in front and behind, in each dimension."""
    windows = Windows.of(kernel, settings)
    return windows.sides(size, windows.same_count(size))


def _padded(x: torch.Tensor, settings: Settings, value: float) -> torch.Tensor:
    return functional.pad(x, _from_last(settings["pads"]), value=value)


def _from_last(pads: Sequence[tuple[int, int]]) -> list[int]:
    """PyTorch begins with the last dimension."""
    return [amount for pair in reversed(pads) for amount in pair]
