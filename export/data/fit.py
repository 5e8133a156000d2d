"""Give an image the size of the input: resized, cropped, squashed or in a letterbox."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgeconv.preprocessing import Fit, Interpolation, Preprocessing

# A larger image than this is not made to cut the input out of it.
_RESIZED_PIXELS = 16_000_000


def fitted(image: Image.Image, size: tuple[int, int], how: Preprocessing) -> npt.NDArray[np.uint8]:
    """The pixels of an image in the size (H, W): [H, W] or [H, W, C].

    The image is resized until it covers the input, further as ``how`` says; then the center is
    cropped. Sizes are rounded as torchvision's Resize and CenterCrop round them. For a letterbox
    it is resized until it fits into the input, and padded as Ultralytics pads it.
    """
    return (
        _letterboxed(image, size, how) if how.fit is Fit.LETTERBOX else _cropped(image, size, how)
    )


@dataclass(frozen=True)
class Place:
    """Where a whole image lies in the frame of the input, in pixels; a crop begins left of it."""

    left: int
    top: int
    width: int
    height: int


def place(image: tuple[int, int], size: tuple[int, int], how: Preprocessing) -> Place:
    """Where an image of (W, H) lies in an input of (H, W)."""
    height, width = size
    if how.fit is Fit.LETTERBOX:
        scale = min(width / image[0], height / image[1])
        inner = [max(1, round(side * scale)) for side in image]
        return Place((width - inner[0]) // 2, (height - inner[1]) // 2, inner[0], inner[1])
    whole = _size(image, height, width, how)
    left, top = round((whole[0] - width) / 2), round((whole[1] - height) / 2)
    return Place(-left, -top, *whole)


def _letterboxed(
    image: Image.Image, size: tuple[int, int], how: Preprocessing
) -> npt.NDArray[np.uint8]:
    at = place(image.size, size, how)
    bars = Image.new("RGB", (1, 1), how.padding).convert(image.mode)
    pixels = np.array(bars.resize(size[::-1]), np.uint8)
    inside = np.s_[at.top : at.top + at.height, at.left : at.left + at.width]
    pixels[inside] = _resized(image, (at.width, at.height), how)
    return pixels


def _cropped(
    image: Image.Image, size: tuple[int, int], how: Preprocessing
) -> npt.NDArray[np.uint8]:
    """The pixels of the center of the resized image: [H, W] or [H, W, C] for a size (H, W).

    Where resizing would make a huge image of a long one, only what the crop needs is resized.
    """
    height, width = size
    at = place(image.size, size, how)
    left, top = -at.left, -at.top
    if at.width * at.height > _RESIZED_PIXELS:
        across, down = image.width / at.width, image.height / at.height
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        filtering = Image.Resampling[how.interpolation.name]
        return np.asarray(image.resize((width, height), filtering, box=box), np.uint8)
    whole = _resized(image, (at.width, at.height), how)
    return whole[top : top + height, left : left + width]


def _size(image: tuple[int, int], height: int, width: int, how: Preprocessing) -> tuple[int, int]:
    """The width and height that the image is resized to."""
    least = [width, height]
    if how.crop is not None:
        least = [math.floor(side / how.crop) for side in least]
    if how.fit is Fit.SQUASH:
        return max(least[0], how.resize or 0), max(least[1], how.resize or 0)
    bounds = [(least[0], image[0]), (least[1], image[1])]
    if how.resize is not None:
        bounds.append((how.resize, min(image)))
    target, side = max(bounds, key=lambda bound: bound[0] / bound[1])
    return max(width, target * image[0] // side), max(height, target * image[1] // side)


def _resized(
    image: Image.Image, size: tuple[int, int], how: Preprocessing
) -> npt.NDArray[np.uint8]:
    """The pixels [H, W] or [H, W, C] of the image in another size."""
    if how.antialias or how.interpolation is Interpolation.NEAREST:
        resized = image.resize(size, Image.Resampling[how.interpolation.name])
        return np.asarray(resized, np.uint8)
    return _sampled(np.asarray(image), size[::-1], how.interpolation)  # Pillow always averages


def _sampled(
    pixels: npt.NDArray[np.uint8], size: tuple[int, int], how: Interpolation
) -> npt.NDArray[np.uint8]:
    """Resize [H, W, …] to (H, W) from the nearest two or four pixels along each side.

    A bundle's ``run.py`` has the same lines, so that it computes the same bytes.
    """
    values = pixels.astype(np.float64)
    for axis, length in enumerate(size):
        at = (np.arange(length) + 0.5) * (values.shape[axis] / length) - 0.5
        first, last = np.floor(at), values.shape[axis] - 1
        t = (at - first).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        weights = {0: 1 - t, 1: t}
        if how is Interpolation.BICUBIC:  # Keys's cubic with a = -0.75, as PyTorch and OpenCV
            near = [(1.25 * d - 2.25) * d * d + 1 for d in (t, 1 - t)]
            far = [((-0.75 * d + 3.75) * d - 6) * d + 3 for d in (t + 1, 2 - t)]
            weights = {-1: far[0], 0: near[0], 1: near[1], 2: far[1]}
        places = {step: np.clip(first + step, 0, last).astype(int) for step in weights}
        values = sum(weights[step] * values.take(places[step], axis) for step in weights)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
