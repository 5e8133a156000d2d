"""Convert stored values to what the network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError


def to_input(
    array: npt.NDArray[Any], info: TensorInfo, preprocessing: Preprocessing | None, source: str
) -> npt.NDArray[Any]:
    """Convert the values of one sample, [1, …], to what the network takes.

    Args:
        array: The values.
        info: The network's input.
        preprocessing: How pixels are normalized.
        source: Where the values come from, for the message.

    Returns:
        Normalized pixels, if the values are bytes and the input is a float image; otherwise the
        values in the input's dtype.

    Raises:
        DataError: A value is NaN or infinite.
    """
    if is_pixels(array.dtype, info):
        return normalize(array, preprocessing)
    converted = np.ascontiguousarray(array, dtype=info.dtype)
    if not np.isfinite(converted).all():
        raise DataError(f"{source} holds NaN or infinite values", hint="remove them")
    return converted


def is_pixels(dtype: np.dtype[Any], info: TensorInfo) -> bool:
    """Whether values of ``dtype`` for the input ``info`` are pixels, to be normalized."""
    return dtype == np.uint8 and info.dtype == "float32" and len(info.shape) == 4


def layout_hint(shape: tuple[int, ...], info: TensorInfo) -> str:
    """The hint about a sample whose shape is [H, W, C] instead of [C, H, W]; empty for others."""
    if len(shape) == 3 and shape == (*info.shape[2:], info.shape[1]):
        return "transpose it to NCHW: it looks like NHWC"
    return ""


def normalize(
    pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing | None
) -> npt.NDArray[np.float32]:
    """Scale pixels [N, C, H, W] to [0, 1] in float32, subtract the mean and divide by std."""
    scaled: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    if preprocessing is None:
        return scaled
    mean = np.array(preprocessing.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.array(preprocessing.std, np.float32).reshape(1, -1, 1, 1)
    normalized: npt.NDArray[np.float32] = np.ascontiguousarray((scaled - mean) / std)
    return normalized
