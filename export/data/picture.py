"""Draw the input of a network as the picture that the network sees."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.export.data.preprocess import channel_axis
from edgeconv.preprocessing import Color, Preprocessing


def picture(
    array: npt.NDArray[Any], info: TensorInfo, preprocessing: Preprocessing | None, side: int
) -> bytes:
    """A sample as PNG, no larger than ``side`` pixels on either side.

    Args:
        array: The image input of one sample, [1, …], as the network takes it.
        info: Describes it; it has one or three channels.
        preprocessing: How pixels were normalized, which is undone. None: the least value becomes
            black, the greatest white.
        side: The most pixels.
    """
    values = np.moveaxis(array, channel_axis(info), -1)[0]
    if values.dtype != np.uint8:
        values = _pixels(values.astype(np.float64), preprocessing)
    if values.shape[-1] == 1:
        values = values[..., 0]
    elif preprocessing is not None and preprocessing.color is Color.BGR:
        values = values[..., ::-1]
    image = Image.fromarray(np.ascontiguousarray(values))
    image.thumbnail((side, side))
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def _pixels(
    values: npt.NDArray[np.float64], preprocessing: Preprocessing | None
) -> npt.NDArray[np.uint8]:
    """Bytes of normalized values [H, W, C]."""
    if preprocessing is None:
        low, span = values.min(), np.ptp(values)
        scaled = (values - low) / (span or 1.0)
    else:
        scaled = values * np.array(preprocessing.std) + np.array(preprocessing.mean)
    pixels: npt.NDArray[np.uint8] = np.rint(np.clip(255 * scaled, 0, 255)).astype(np.uint8)
    return pixels
