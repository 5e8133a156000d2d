"""Where a Resize takes its samples from along one axis, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sampling:
    """ONNX's coordinate transformation: ``scale`` is result over input, as the node states it."""

    place: str
    scale: float
    size: int
    result: int

    @property
    def is_nothing(self) -> bool:
        """Whether every element stays as it is."""
        return self.size == self.result

    @property
    def whole(self) -> bool:
        """Whether the scale gives the size of the result without rounding."""
        return abs(self.scale * self.size - self.result) <= 1e-3

    @property
    def coordinates(self) -> Floats:
        """The place in the input that each element of the result is taken from."""
        return self._places(np.float64)

    def _places(self, kind: type[np.floating[Any]]) -> Floats:
        """The coordinates, computed in numbers of a kind."""
        scale = kind(self.scale)
        places: Floats = np.arange(self.result, dtype=kind)
        if self.size == self.result and self.scale == 1:
            return places
        if self.place == "asymmetric":
            places /= scale
        elif self.place == "align_corners":
            places *= self.size - 1
            places /= max(self.result - 1, 1)
        elif self.place == "pytorch_half_pixel" and self.result == 1:
            places *= 0
        else:
            offset = kind(0)
            if self.place == "half_pixel_symmetric":
                offset = kind(self.size / 2) * (1 - kind(self.result) / (scale * kind(self.size)))
            places = offset + (places + kind(0.5)) / scale - kind(0.5)
        return places

    def nearest(self, rounding: str) -> npt.NDArray[np.int32]:
        """The element that each element of the result is, by ``nearest_mode``.

        In float32, as ONNX Runtime and PyTorch do: where a place lies between two elements, one
        rounding decides which it is.
        """
        source = self._places(np.float32)
        rounded: Floats = {
            "round_prefer_floor": np.ceil(source - 0.5),
            "round_prefer_ceil": np.floor(source + 0.5),
            "floor": np.floor(source),
            "ceil": np.ceil(source),
        }[rounding]
        return rounded.clip(0, self.size - 1).astype(np.int32)


@dataclass(frozen=True)
class Crop(Sampling):
    """tf_crop_and_resize: the samples lie from ``start`` to ``end``, in shares of the input.

    ONNX Runtime takes an axis whose scale is 1 whole, whatever its part.
    """

    start: float
    end: float

    @property
    def is_nothing(self) -> bool:
        """Whether every element stays as it is."""
        whole = self.scale == 1 or (self.start, self.end) == (0, 1)
        return self.size == self.result and whole

    def _places(self, kind: type[np.floating[Any]]) -> Floats:
        if self.is_nothing:
            return np.arange(self.result, dtype=kind)
        # In float32, as ONNX Runtime does: at the border one rounding decides what is outside.
        start, end = np.float32(self.start), np.float32(self.end)
        last = np.float32(self.size - 1)
        if self.result == 1:
            middle = np.float32(0.5 * float(start + end) * float(last))
            return np.array([middle], kind)
        at = np.arange(self.result, dtype=np.float32)
        steps = at * (end - start) * last / np.float32(self.result - 1)
        places: Floats = (start * last + steps).astype(kind)
        return places

    @property
    def outside(self) -> npt.NDArray[np.bool_]:
        """Which elements of the result lie beyond the input."""
        at = self.coordinates
        return (at < 0) | (at > self.size - 1)


def matrix(
    sampling: Sampling, *, a: float | None, antialias: bool, exclude_outside: bool
) -> npt.NDArray[np.float32]:
    """Compute the weights of the input's elements for each element of the result, result x input.

    Args:
        sampling: The places of the samples along one axis.
        a: The coefficient of the cubic kernel (Keys 1981); None means linear.
        antialias: Widen the kernel by the factor of a reduction.
        exclude_outside: Leave out what lies beyond the borders, instead of repeating the border.
    """
    reach = 1 if a is None else 2
    narrow = min(sampling.scale, 1.0) if antialias else 1.0
    steps = int(np.ceil(reach / narrow))
    at = sampling.coordinates[:, np.newaxis]
    taps = np.floor(at) + np.arange(1 - steps, steps + 1)
    distance = np.abs(taps - at) * narrow
    weights = np.maximum(1 - distance, 0) if a is None else _cubic(distance, a)
    if exclude_outside:
        weights = np.where((taps < 0) | (taps >= sampling.size), 0, weights)
    weights /= weights.sum(axis=1, keepdims=True)
    result = np.zeros((sampling.result, sampling.size))
    rows = np.arange(sampling.result)[:, np.newaxis]
    np.add.at(result, (rows, taps.clip(0, sampling.size - 1).astype(int)), weights)
    return result.astype(np.float32)


def _cubic(distance: Reals, a: float) -> Reals:
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))
