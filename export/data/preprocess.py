"""Values as the network takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.errors import DataError


def to_input(
    array: npt.NDArray[Any], info: TensorInfo, preprocessing: Preprocessing | None, source: str
) -> npt.NDArray[Any]:
    """Values [1, …] as the network takes them: bytes for a float input are pixels.

    Raises:
        DataError: a value is NaN or infinite.
    """
    if is_pixels(array.dtype, info):
        return normalize(array, preprocessing)
    converted = np.ascontiguousarray(array, dtype=info.dtype)
    if not np.isfinite(converted).all():
        raise DataError(f"{source} holds NaN or infinite values; remove them")
    return converted


def is_pixels(dtype: np.dtype[Any], info: TensorInfo) -> bool:
    return dtype == np.uint8 and info.dtype == "float32" and len(info.shape) == 4


def layout_hint(shape: tuple[int, ...], info: TensorInfo) -> str:
    """For a sample [H, W, C]."""
    if len(shape) == 3 and shape == (*info.shape[2:], info.shape[1]):
        return "; it looks like NHWC, transpose it to NCHW"
    return ""


def normalize(
    pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing | None
) -> npt.NDArray[np.float32]:
    """[N, C, H, W] bytes to ([0, 1] - mean) / std float32."""
    scaled: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    if preprocessing is None:
        return scaled
    mean = np.array(preprocessing.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.array(preprocessing.std, np.float32).reshape(1, -1, 1, 1)
    normalized: npt.NDArray[np.float32] = np.ascontiguousarray((scaled - mean) / std)
    return normalized
