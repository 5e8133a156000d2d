"""Convert stored values to what the network takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import DataError
from edgeconv.preprocessing import Preprocessing


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
        Normalized pixels, if the values are bytes and the input is a float image that is not
        normalized inside the files; otherwise the values in the input's dtype.

    Raises:
        DataError: A value is NaN, or the type of the input does not have it.
    """
    inside = preprocessing is not None and preprocessing.inside
    if is_pixels(array.dtype, info) and not inside:
        return normalize(array, preprocessing, channel_axis(info))
    # NaN and what is too large are refused below.
    with np.errstate(invalid="ignore", over="ignore"):
        converted = np.ascontiguousarray(array, dtype=info.dtype)
    if converted.dtype.kind in "iub" and not np.array_equal(converted, array):
        raise DataError(
            f"{source} has values that {info.dtype}, the type of the input {info.name!r}, has not",
            hint="pass whole numbers in its range",
        )
    if converted.dtype.kind == "f" and (np.isinf(converted) & np.isfinite(array)).any():
        raise DataError(
            f"{source} has values that {info.dtype}, the type of the input {info.name!r}, cannot "
            "hold",
            hint="scale them, or leave such samples out",
        )
    if converted.dtype.kind == "f" and np.isnan(converted).any():
        raise DataError(f"{source} holds NaN", hint="remove such samples")
    return converted


def is_pixels(dtype: np.dtype[Any], info: TensorInfo) -> bool:
    """Whether values of ``dtype`` for the input ``info`` are pixels, to be normalized."""
    return dtype == np.uint8 and info.dtype == "float32" and len(info.shape) == 4


def is_image(info: TensorInfo) -> bool:
    """Whether an input is one gray or color image."""
    return len(info.shape) == 4 and image_size(info)[0] in (1, 3)


def channel_axis(info: TensorInfo) -> int:
    """The dimension of an image input that counts the channels."""
    return 3 if info.layout is Layout.NHWC else 1


def image_size(info: TensorInfo) -> tuple[int, int, int]:
    """Channels, height and width of an input of four dimensions."""
    channels = channel_axis(info)
    height, width = (size for axis, size in enumerate(info.shape) if axis not in (0, channels))
    return info.shape[channels], height, width


def layout_hint(shape: tuple[int, ...], info: TensorInfo) -> str:
    """The hint about a sample in the other layout than the input's; empty for others."""
    if len(shape) != 3 or len(info.shape) != 4:
        return ""
    channels, height, width = image_size(info)
    own = info.layout or Layout.NCHW
    other = Layout.NCHW if own is Layout.NHWC else Layout.NHWC
    swapped = (channels, height, width) if own is Layout.NHWC else (height, width, channels)
    if shape != swapped:
        return ""
    return f"transpose it to {own.name}: it looks like {other.name}"


def normalize(
    pixels: npt.NDArray[np.uint8], preprocessing: Preprocessing | None, channels: int = 1
) -> npt.NDArray[np.float32]:
    """Scale pixels to [0, 1] in float32, subtract the mean and divide by std.

    Args:
        pixels: Images, [N, C, H, W] by default.
        preprocessing: Has mean and std.
        channels: The dimension of the channels.
    """
    scaled: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    if preprocessing is None:
        return scaled
    along = [-1 if axis == channels else 1 for axis in range(pixels.ndim)]
    mean = np.array(preprocessing.mean, np.float32).reshape(along)
    std = np.array(preprocessing.std, np.float32).reshape(along)
    normalized: npt.NDArray[np.float32] = np.ascontiguousarray((scaled - mean) / std)
    return normalized
