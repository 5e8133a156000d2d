"""Receptive fields, by the recursion of Araujo et al. 2019, "Computing Receptive Fields of
Convolutional Neural Networks" (Distill)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgeconv.models.graph import argument, operator, shape_of
from torch import fx

_POOLS = ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d")
_CONVOLUTIONS = ("conv1d", "conv2d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d")
_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d")
_MIXERS = ("linear", "matmul", "bmm", "addmm")


@dataclass(frozen=True)
class Reach:
    """Along one axis: ``field`` input pixels are seen by a position, and neighboring positions
    are ``jump`` input pixels apart."""

    field: Fraction
    jump: Fraction

    def window(self, kernel: int, stride: Fraction, dilation: int = 1) -> Reach:
        return Reach(self.field + (kernel - 1) * dilation * self.jump, self.jump * stride)


# One Reach for each spatial axis; None for what has no spatial axes or sees everything.
Reaches = tuple[Reach, ...] | None


def of_input(shape: tuple[int, ...]) -> Reaches:
    """An input of ``shape``, batch and channels first, sees itself."""
    return tuple(Reach(Fraction(1), Fraction(1)) for _ in shape[2:]) or None


def after(node: fx.Node, inputs: Sequence[Reaches]) -> Reaches:
    """What the output of ``node`` sees, given what each of its tensor inputs sees."""
    name, known = operator(node), [reaches for reaches in inputs if reaches is not None]
    if not known or name in _MIXERS:
        return None
    before, size = known[0], shape_of(node.args[0])[2:]
    after_size = shape_of(node)[2:]
    if name in _CONVOLUTIONS:
        kernel = shape_of(argument(node, "weight"))[2:]
        return _slide(before, kernel, _ints(node, "stride"), _ints(node, "dilation"))
    if name in _POOLS:
        kernel = _ints(node, "kernel_size")
        return _slide(before, kernel, _ints(node, "stride") or kernel, (1,))
    if name in _TRANSPOSED:
        kernel = shape_of(argument(node, "weight"))[2:]
        return _paint(before, kernel, _ints(node, "stride"))
    if name in ("mean", "sum", "amax") or name in _ADAPTIVE:
        return _pool(before, size, after_size)
    if name.startswith("upsample"):
        taps = 1 if "nearest" in name else 2
        return _resize(before, size, after_size, taps)
    if name == "pixel_shuffle":
        return _resize(before, size, after_size, 1)
    return tuple(max(axis, key=lambda reach: reach.field) for axis in zip(*known, strict=False))


def _ints(node: fx.Node, name: str) -> tuple[int, ...]:
    value = argument(node, name)
    if isinstance(value, int):
        return (value,)
    assert isinstance(value, Sequence)
    return tuple(int(item) for item in value)


def _slide(
    before: tuple[Reach, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Reaches:
    windows = (_each(values, len(before)) for values in (kernel, stride, dilation))
    axes = zip(before, *windows, strict=True)
    return tuple(reach.window(k, Fraction(s), d) for reach, k, s, d in axes)


def _paint(before: tuple[Reach, ...], kernel: tuple[int, ...], stride: tuple[int, ...]) -> Reaches:
    # An output pixel of a transposed convolution reads ceil(k / s) neighboring inputs.
    windows = (_each(values, len(before)) for values in (kernel, stride))
    axes = zip(before, *windows, strict=True)
    return tuple(reach.window(-(-k // s), Fraction(1, s)) for reach, k, s in axes)


def _pool(before: tuple[Reach, ...], size: tuple[int, ...], after: tuple[int, ...]) -> Reaches:
    """A mean over some axes, or an adaptive pool; None where it sees the whole map."""
    if all(n == 1 for n in after[: len(size)]):
        return None
    axes = zip(before, size, after, strict=True)
    return tuple(reach.window(-(-n // m), Fraction(n, m)) for reach, n, m in axes)


def _resize(
    before: tuple[Reach, ...], size: tuple[int, ...], after: tuple[int, ...], taps: int
) -> Reaches:
    axes = zip(before, size, after, strict=True)
    return tuple(reach.window(taps, Fraction(n, m)) for reach, n, m in axes)


def _each(values: tuple[int, ...], axes: int) -> tuple[int, ...]:
    return values * axes if len(values) == 1 else values
