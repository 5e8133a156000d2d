"""Draw figures in clutter: a data set without files, harder than handwritten digits.

An image shows one figure with a random position, size, tilt and color. Its outline and its texture
make its class; there are twelve. Small scraps with the outlines and textures of other classes lie
behind the figure and in front of it, and noise covers everything. The same seed gives the same
images everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SIZE = 48  # pixels per side
OUTLINES = ("disc", "triangle", "square", "star")
TEXTURES = ("plain", "stripes", "checks")
CLASSES = tuple(f"{texture} {outline}" for outline in OUTLINES for texture in TEXTURES)

_SCRAPS_BEHIND, _SCRAPS_BEFORE = 5, 1
_NOISE = 0.04  # standard deviation, where black to white is 1
_CHUNK = 250  # images drawn at once


@dataclass(frozen=True)
class Shapes:
    """Images [N, 3, SIZE, SIZE] float32 in [-1, 1] and their classes [N] int64.

    ``masks`` [N, SIZE, SIZE] int64 is 1 where the figure is visible and 0 elsewhere.
    """

    x: Array
    y: npt.NDArray[np.int64]
    masks: npt.NDArray[np.int64]


def draw(count: int, seed: int) -> Shapes:
    """Draw ``count`` images with equally frequent classes, in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(count) % len(CLASSES))
    parts = [_draw(rng, y[start : start + _CHUNK]) for start in range(0, count, _CHUNK)]
    x, masks = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Shapes(x, y, masks)


def _draw(
    rng: np.random.Generator, y: npt.NDArray[np.int64]
) -> tuple[Array, npt.NDArray[np.int64]]:
    count = len(y)
    image = _background(rng, count)
    for _ in range(_SCRAPS_BEHIND):
        image, _ = _paint(rng, image, rng.integers(len(CLASSES), size=count), radius=(0.08, 0.2))
    image, seen = _paint(rng, image, y, radius=(0.65, 0.95))
    for _ in range(_SCRAPS_BEFORE):
        image, cover = _paint(
            rng, image, rng.integers(len(CLASSES), size=count), radius=(0.06, 0.16)
        )
        seen = seen * (1 - cover)
    light = rng.uniform(0.6, 1.0, (count, 1, 1, 1))
    noisy = light * image + rng.normal(0, _NOISE, image.shape)
    return (2 * np.clip(noisy, 0, 1) - 1).astype(np.float32), (seen[:, 0] > 0.5).astype(np.int64)


def _background(rng: np.random.Generator, count: int) -> Array:
    """Blend one color into another in waves or a slope, [count, 3, SIZE, SIZE]."""
    column, row = _grid()
    turn, wave = _uniform(rng, count, 0, 2 * np.pi), _uniform(rng, count, 0.5, 9)
    phase = _uniform(rng, count, 0, 2 * np.pi)
    along = column * np.cos(turn) + row * np.sin(turn)
    return _blend(0.5 + 0.5 * np.sin(wave * along + phase), *_two_colors(rng, count))


def _paint(
    rng: np.random.Generator,
    image: Array,
    classes: npt.NDArray[np.int64],
    radius: tuple[float, float],
) -> tuple[Array, Array]:
    """Add one figure to each image, and return the figures' coverage [N, 1, SIZE, SIZE] too."""
    count = len(classes)
    size = _uniform(rng, count, *radius)
    reach = np.maximum(1 - size, 0.0)  # a figure lies wholly inside where it can
    column, row = (axis - _uniform(rng, count, -1, 1) * reach for axis in _grid())
    tilt = _uniform(rng, count, -0.4, 0.4)
    across = (column * np.cos(tilt) - row * np.sin(tilt)) / size
    along = (column * np.sin(tilt) + row * np.cos(tilt)) / size
    distance = np.hypot(across, along)
    outline, texture = (index.reshape(-1, 1, 1, 1) for index in np.divmod(classes, len(TEXTURES)))
    edge = np.choose(outline, _outlines(np.arctan2(across, -along)))
    coverage = np.clip((edge - distance) * size * SIZE / 2 + 0.5, 0, 1)
    frequency = _uniform(rng, count, 6.5, 9.5)
    pattern = np.choose(texture, _textures(across, along, frequency))
    figure = _blend(pattern, *_two_colors(rng, count))
    return (coverage * figure + (1 - coverage) * image).astype(np.float32), coverage


def _outlines(angle: Array) -> list[Array]:
    """Compute how far each of OUTLINES extends from the center in the direction ``angle``."""
    fifth = 2 * np.pi / 5
    spike = np.abs(np.mod(angle, fifth) / fifth - 0.5) * 2
    return [
        np.full_like(angle, 0.85),
        _polygon(angle, 3),
        _polygon(angle + np.pi / 4, 4),
        0.42 + 0.58 * spike**1.5,
    ]


def _polygon(angle: Array, corners: int) -> Array:
    sector = 2 * np.pi / corners
    return np.cos(sector / 2) / np.cos(np.mod(angle, sector) - sector / 2)


def _textures(across: Array, along: Array, frequency: Array) -> list[Array]:
    """Compute the share of the second color, 0 to 1, for each of TEXTURES."""
    stripes = np.sin(frequency * (across + along))
    checks = 1.4 * np.sin(frequency * across) * np.sin(frequency * along)
    return [
        np.clip(0.5 + 0.35 * along, 0, 1),
        *(np.clip(0.5 + 1.2 * wave, 0, 1) for wave in (stripes, checks)),
    ]


def _two_colors(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Draw two colors [count, 3, 1, 1] that differ in lightness by at least a quarter."""
    first = rng.uniform(0, 1, (count, 3, 1, 1))
    step = rng.uniform(0.25, 0.5, (count, 1, 1, 1)) * rng.choice([-1, 1], (count, 1, 1, 1))
    step = np.where(np.abs(first.mean(1, keepdims=True) + step - 0.5) > 0.5, -step, step)
    return first, first + step + rng.uniform(-0.1, 0.1, first.shape)


def _blend(share: Array, first: Array, second: Array) -> Array:
    return first + share * (second - first)


def _grid() -> tuple[Array, Array]:
    """Return the coordinates of columns [1, 1, 1, SIZE] and rows [1, 1, SIZE, 1], from -1 to 1."""
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) * 2 / SIZE - 1
    return axis.reshape(1, 1, 1, -1), axis.reshape(1, 1, -1, 1)


def _uniform(rng: np.random.Generator, count: int, low: float, high: float) -> Array:
    return rng.uniform(low, high, (count, 1, 1, 1)).astype(np.float32)
