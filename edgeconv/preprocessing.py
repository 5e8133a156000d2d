"""How an image becomes the input of a network."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from edgeconv.arguments import StatedRecord


class Interpolation(str, Enum):
    """How an image is resized, by Pillow's names."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


class Fit(str, Enum):
    """How an image of another aspect ratio gets the shape of the input.

    ``crop`` keeps its aspect ratio and cuts off what is too much; ``squash`` does not keep it;
    ``letterbox`` keeps it and the whole image, and pads it to both sides.
    """

    CROP = "crop"
    SQUASH = "squash"
    LETTERBOX = "letterbox"


class Color(str, Enum):
    """The channels of an image, in their order; an input of one channel is always gray."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


Byte = Annotated[int, Field(ge=0, le=255)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# float32 cannot tell pixels in [0, 1] apart that differ by less.
_LEAST_STD = 2.0**-24


class Preprocessing(StatedRecord):
    """How an image becomes the network's input.

    The image is turned as its camera was held, laid on ``background`` where it is transparent,
    resized, and its center cropped to the input; bytes are scaled to [0, 1], and become
    (x - mean) / std per channel, the channels in the order of ``color``. A stated preprocessing
    needs only what differs from the network's own; one number of ``mean`` or ``std`` stands for
    every channel.

    Attributes:
        resize: Length of the shorter side before the crop; None to resize no further than the
            input needs.
        crop: Share of the resized image's sides that the crop keeps, in place of ``resize``.
        fit: What becomes of the aspect ratio.
        interpolation: How it is resized.
        antialias: Whether a smaller image averages the pixels it leaves out, as Pillow does;
            OpenCV does not.
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        color: The order of the channels; ``gray`` for three channels repeats it.
        padding: The color of the bars that ``letterbox`` adds, as bytes of red, green and blue.
        background: The color behind transparent pixels, likewise.
        exif_rotation: Whether an image is turned as its EXIF orientation says, which viewers do
            and plain Pillow does not.
        assumed: Whether mean and std are a default, not stated by the user or the network.
        inside: Whether the files do the last part themselves. They then take bytes of red, green
            and blue, or gray, as numbers from 0 to 255.
    """

    resize: int | None = Field(default=None, gt=0)
    crop: float | None = Field(default=None, gt=0, le=1)
    fit: Fit = Fit.CROP
    interpolation: Interpolation = Interpolation.BILINEAR
    antialias: bool = True
    mean: tuple[Finite, ...] = (0.0,)
    std: tuple[Finite, ...] = (1.0,)
    color: Color = Color.RGB
    padding: tuple[Byte, Byte, Byte] = (114, 114, 114)
    background: tuple[Byte, Byte, Byte] = (255, 255, 255)
    exif_rotation: bool = True
    assumed: bool = False
    inside: bool = False

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value

    @field_validator("resize", "crop", "mean", "std", "padding", "background", mode="before")
    @classmethod
    def _is_a_number(cls, value: Any) -> Any:
        parts = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(part, bool) for part in parts):  # Python would count it as 1 or 0
            raise ValueError("a number belongs here, not true or false")
        return value

    @field_validator("std")
    @classmethod
    def _divides(cls, std: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in std:
            raise ValueError("a standard deviation is zero")
        if any(each < _LEAST_STD for each in std):
            raise ValueError("a standard deviation is negative, or too small for pixels")
        return std

    @model_validator(mode="after")
    def _fits_together(self) -> Preprocessing:
        if self.resize is not None and self.crop is not None:
            raise ValueError("resize and crop exclude each other")
        if self.fit is Fit.LETTERBOX and (self.resize, self.crop) != (None, None):
            raise ValueError("a letterbox shows the whole image: it has no resize and no crop")
        if self.interpolation is Interpolation.LANCZOS and not self.antialias:
            raise ValueError("lanczos is always antialiased")
        return self
