"""The arithmetic of one operator: its multiply-accumulates and its geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import fx

from edgeconv.models.graph import argument, operator, shape_of

_CONVOLUTIONS = ("conv1d", "conv2d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d")
_TRANSFORMS = ("fft_rfft2", "fft_irfft2")


@dataclass(frozen=True)
class Convolution:
    """The geometry of a convolution: what the textbook formulas need."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    groups: int
    positions: int

    @property
    def is_replaceable(self) -> bool:
        """Whether a depthwise separable convolution can replace it.

        It can where this is a standard convolution with a spatial kernel.
        """
        return self.groups == 1 and math.prod(self.kernel) > 1 and self.in_channels > 1


def macs(node: fx.Node) -> int:
    """Return the multiply-accumulates of one operator; 0 if it is not a sum of products."""
    name, out = operator(node), math.prod(shape_of(node))
    if name in _CONVOLUTIONS:
        return out * math.prod(shape_of(argument(node, "weight"))[1:])
    if name in _TRANSPOSED:
        weight = shape_of(argument(node, "weight"))
        return math.prod(shape_of(argument(node, "input"))) * math.prod(weight[1:])
    if name in ("linear", "matmul", "bmm", "mm"):
        return out * shape_of(node.args[0])[-1]
    if name == "addmm":
        return out * shape_of(node.args[1])[-1]
    if name == "scaled_dot_product_attention":
        query, key = shape_of(argument(node, "query")), shape_of(argument(node, "key"))
        scores = math.prod(query[:-1]) * key[-2]
        return scores * query[-1] + scores * shape_of(node)[-1]
    if name in _TRANSFORMS:
        return _transform_macs(node)
    return 0


def transform_macs(points: int) -> int:
    """Return the real multiplications of the radix-2 transform of ``points`` real numbers.

    n / 2 log2(n) complex multiplications of 4 real ones each, halved because a real signal's
    spectrum is symmetric (Cooley and Tukey 1965). Rounded where n is not a power of two.
    """
    return round(points * math.log2(points))


def _transform_macs(node: fx.Node) -> int:
    source = node.args[0]
    real = shape_of(node) if operator(node) == "fft_irfft2" else shape_of(source)
    size = argument(node, "s")
    height, width = size if isinstance(size, Sequence) else real[-2:]
    return math.prod(real[:-2]) * transform_macs(int(height) * int(width))


def is_weighted(node: fx.Node) -> bool:
    """Return whether batch normalization and activation fold into this operator."""
    return operator(node) in (*_CONVOLUTIONS, *_TRANSPOSED, "linear")


def geometry(node: fx.Node) -> Convolution | None:
    """Return the geometry of a convolution; None for any other operator."""
    if operator(node) not in _CONVOLUTIONS:
        return None
    weight, groups = shape_of(argument(node, "weight")), argument(node, "groups")
    assert isinstance(groups, int)
    positions = math.prod(shape_of(node)[2:])
    return Convolution(weight[1] * groups, weight[0], weight[2:], groups, positions)


def describe(node: fx.Node) -> str:
    """Return the operator in words, as in "depthwise 3x3, dilation 2"."""
    name = operator(node)
    if name not in (*_CONVOLUTIONS, *_TRANSPOSED):
        return name
    kernel = "x".join(map(str, shape_of(argument(node, "weight"))[2:]))
    kind = "transposed" if name in _TRANSPOSED else "conv"
    groups = argument(node, "groups")
    conv = geometry(node)
    if conv is not None and groups == conv.in_channels > 1:
        kind = "depthwise"
    elif groups != 1:
        kind = f"conv, {groups} groups,"
    dilation = argument(node, "dilation")
    assert isinstance(dilation, Sequence)
    holes = f", dilation {dilation[0]}" if any(step != 1 for step in dilation) else ""
    return f"{kind} {kernel}{holes}"
