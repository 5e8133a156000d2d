"""Receptive fields, exactly: for every position of a map, the interval of input pixels it sees.

Strides and upsampling make the intervals repeat: position o + period sees what o sees, ``step``
pixels further. So one period of intervals describes a whole map. Away from borders; zeros of
padding count as pixels. Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural
Networks" (Distill), give the recursion for the case without upsampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import fx

from edgeconv.models.graph import argument, operator, shape_of

_CONVOLUTIONS = ("conv1d", "conv2d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d")
_POOLS = ("max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d")
_ADAPTIVE = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
_REDUCTIONS = ("mean", "sum", "amax")
_MIXERS = ("linear", "matmul", "bmm", "addmm", "fft_rfft2", "fft_irfft2")


@dataclass(frozen=True)
class Reach:
    """Along one axis: position o of the first period sees the pixels ``low[o]`` to ``high[o]``."""

    step: int
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def field(self) -> int:
        """The most pixels that a position sees."""
        return max(high - low for low, high in zip(self.low, self.high, strict=True)) + 1

    def span(self, position: int) -> tuple[int, int]:
        """The first and the last pixel that ``position`` sees."""
        return self._at(self.low, position), self._at(self.high, position)

    def through(
        self, first: Callable[[int], int], last: Callable[[int], int], every: int, advance: int
    ) -> Reach:
        """Return the reach of a map that reads this one.

        Its position o reads positions ``first(o)`` to ``last(o)`` of this one; ``every`` positions
        further it reads ``advance`` positions further.
        """
        repeats = len(self.low) // math.gcd(len(self.low), advance)
        positions = range(every * repeats)
        step = self.step * (advance * repeats // len(self.low))
        low = tuple(self._at(self.low, first(o)) for o in positions)
        return Reach(step, low, tuple(self._at(self.high, last(o)) for o in positions))

    def _at(self, edges: tuple[int, ...], position: int) -> int:
        periods, phase = divmod(position, len(edges))
        return edges[phase] + periods * self.step

    def union(self, other: Reach) -> Reach:
        """What a position sees that reads the same position of both maps."""
        if self.step * len(other.low) != other.step * len(self.low):
            # Maps of unlike scale, as after a resize by an odd ratio: the wider one stands.
            return max(self, other, key=lambda reach: reach.field)
        positions = range(math.lcm(len(self.low), len(other.low)))
        step = self.step * (len(positions) // len(self.low))
        low = tuple(min(self._at(self.low, o), other._at(other.low, o)) for o in positions)
        high = tuple(max(self._at(self.high, o), other._at(other.high, o)) for o in positions)
        return Reach(step, low, high)

    def window(self, kernel: int, stride: int, dilation: int = 1, padding: int = 0) -> Reach:
        """After a convolution or pool."""
        reach = (kernel - 1) * dilation
        return self.through(
            lambda o: o * stride - padding, lambda o: o * stride - padding + reach, 1, stride
        )

    def painted(self, kernel: int, stride: int, dilation: int, padding: int) -> Reach:
        """After a transposed convolution: o = i stride - padding + t dilation, 0 <= t < kernel."""
        reach = (kernel - 1) * dilation
        return self.through(
            lambda o: -((reach - o - padding) // stride),
            lambda o: (o + padding) // stride,
            stride,
            1,
        )

    def resized(self, size: int, after: int, taps: int) -> Reach:
        """Return the reach after interpolation from ``size`` to ``after`` positions.

        It takes the nearest neighbor (``taps`` = 1) or is linear between pixel centers (2).
        """
        common = math.gcd(size, after)
        advance, every = size // common, after // common
        if taps == 1:
            return self.through(
                lambda o: o * advance // every, lambda o: o * advance // every, every, advance
            )
        # Source coordinate: (o + 1/2) advance / every - 1/2, in halves of 1 / every.
        return self.through(
            lambda o: ((2 * o + 1) * advance - every) // (2 * every),
            lambda o: -((every - (2 * o + 1) * advance) // (2 * every)),
            every,
            advance,
        )

    def pooled(self, size: int, after: int) -> Reach:
        """After an adaptive pool from ``size`` to ``after`` positions."""
        common = math.gcd(size, after)
        advance, every = size // common, after // common
        return self.through(
            lambda o: o * advance // every,
            lambda o: -(-(o + 1) * advance // every) - 1,
            every,
            advance,
        )


# One Reach for each spatial axis; None for what has no spatial axes or sees everything.
Reaches = tuple[Reach, ...] | None


def of_input(shape: tuple[int, ...]) -> Reaches:
    """An input of ``shape``, batch and channels first, sees itself."""
    return tuple(Reach(1, (0,), (0,)) for _ in shape[2:]) or None


def after(node: fx.Node, inputs: Sequence[Reaches]) -> Reaches:
    """What the output of ``node`` sees, given what each of its tensor inputs sees."""
    known = [reaches for reaches in inputs if reaches is not None]
    name = operator(node)
    if not known or name in _MIXERS:
        return None
    before = known[0]
    sizes = tuple(zip(before, shape_of(node.args[0])[2:], shape_of(node)[2:], strict=False))
    if name in _CONVOLUTIONS or name in _POOLS:
        return tuple(
            reach.window(k, s, d, p)
            for reach, (k, s, d, p) in zip(before, _windows(node, before), strict=True)
        )
    if name in _TRANSPOSED:
        return tuple(
            reach.painted(k, s, d, p)
            for reach, (k, s, d, p) in zip(before, _windows(node, before), strict=True)
        )
    if name in _REDUCTIONS or name in _ADAPTIVE:
        if all(size == 1 for size in shape_of(node)[2:]):
            return None
        return tuple(reach.pooled(size, now) for reach, size, now in sizes)
    if name.startswith("upsample"):
        taps = 1 if "nearest" in name else 2
        return tuple(reach.resized(size, now, taps) for reach, size, now in sizes)
    if name == "pixel_shuffle":
        return tuple(reach.resized(size, now, 1) for reach, size, now in sizes)
    if name in ("pad", "constant_pad_nd"):
        return _padded(node, before)
    if name == "slice":
        return _sliced(node, before)
    merged = before
    for other in known[1:]:
        merged = tuple(a.union(b) for a, b in zip(merged, other, strict=False))
    return merged


def _windows(node: fx.Node, before: tuple[Reach, ...]) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, dilation and padding of each axis."""
    axes = len(before)
    if operator(node) in _POOLS:
        kernel = _ints(node, "kernel_size", axes)
        stride = _ints(node, "stride", axes) or kernel
        dilation = _ints(node, "dilation", axes) if "max" in operator(node) else (1,) * axes
    else:
        kernel = shape_of(argument(node, "weight"))[2:]
        stride, dilation = _ints(node, "stride", axes), _ints(node, "dilation", axes)
    if isinstance(argument(node, "padding"), str):
        same = argument(node, "padding") == "same"
        padding = tuple((k - 1) * d // 2 * same for k, d in zip(kernel, dilation, strict=True))
    else:
        padding = _ints(node, "padding", axes)
    return list(zip(kernel, stride, dilation, padding, strict=True))


def _padded(node: fx.Node, before: tuple[Reach, ...]) -> Reaches:
    pairs = _ints(node, "pad", 0)
    leads = pairs[::2][: len(before)][::-1]  # the last axis comes first
    leads = (0,) * (len(before) - len(leads)) + leads
    return tuple(reach.window(1, 1, 1, lead) for reach, lead in zip(before, leads, strict=True))


def _sliced(node: fx.Node, before: tuple[Reach, ...]) -> Reaches:
    rank = len(shape_of(node))
    axis, start, step = (argument(node, key) for key in ("dim", "start", "step"))
    assert isinstance(axis, int)
    axis = axis % rank - (rank - len(before))
    if axis < 0:
        return before
    size = shape_of(node.args[0])[axis - len(before)]
    first, _, stride = slice(start, None, step).indices(size)
    return (*before[:axis], before[axis].window(1, stride, 1, -first), *before[axis + 1 :])


def _ints(node: fx.Node, name: str, axes: int) -> tuple[int, ...]:
    value = argument(node, name)
    items = (value,) if isinstance(value, int) else value
    assert isinstance(items, Sequence)
    numbers = tuple(int(item) for item in items)
    return numbers * axes if len(numbers) == 1 and axes else numbers
