"""What the files beside the model files need to know of a network, by its manifest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeconv.bundle import Artifact, Format, Layout, Manifest, OutputKind, Shown
from edgeconv.preprocessing import Color, Fit, Interpolation, Preprocessing

# The numbers that `edgeconv evaluate` puts into a mask.
_MOST_CLASSES = 256
# A larger image than this is not made to cut the input out of it, as in calibration.
_RESIZED_PIXELS = 16_000_000


@dataclass(frozen=True)
class ImageInput:
    """The one image that a network takes.

    Attributes:
        how: What becomes of a picture before it is the input.
        channels: 1 or 3.
        height: In pixels.
        width: In pixels.
        last: Whether the network itself has the channels last.
        batch: How many images it takes at once.
        dtype: The type of its values.
    """

    how: Preprocessing
    channels: int
    height: int
    width: int
    last: bool
    batch: int
    dtype: str

    @property
    def gray(self) -> bool:
        """Whether the picture is read as gray."""
        return self.channels == 1 or self.how.color is Color.GRAY

    @property
    def normalized(self) -> bool:
        """Whether bytes become real numbers."""
        return self.dtype == "float32" and not self.how.inside

    @property
    def turned(self) -> bool:
        """Whether red and blue change places."""
        return self.how.color is Color.BGR and not self.gray and not self.how.inside

    @property
    def shifted(self) -> bool:
        """Whether mean and standard deviation change anything."""
        return {*self.how.mean} != {0.0} or {*self.how.std} != {1.0}

    @property
    def sampled(self) -> bool:
        """Whether it is resized as Pillow cannot do it: without averaging."""
        return not self.how.antialias and self.how.interpolation is not Interpolation.NEAREST

    @property
    def least(self) -> tuple[int, int]:
        """The width and height that a resized picture has at least."""
        crop = self.how.crop or 1.0
        return math.floor(self.width / crop), math.floor(self.height / crop)

    @property
    def bounded(self) -> bool:
        """Whether no picture is resized to more pixels than the bound."""
        sides = [max(side, self.how.resize or 0) for side in self.least]
        return self.how.fit is Fit.SQUASH and math.prod(sides) <= _RESIZED_PIXELS


def image_input(manifest: Manifest) -> ImageInput | None:
    """The network's image, if it takes one image and nothing else."""
    if len(manifest.inputs) != 1 or len(manifest.inputs[0].shape) != 4:
        return None
    info = manifest.inputs[0]
    last = info.layout is Layout.NHWC
    batch, *sides = info.shape
    channels = sides.pop(2 if last else 0)
    if channels not in (1, 3) or min(sides) < 1:
        return None
    how = manifest.preprocessing or Preprocessing()
    return ImageInput(how, channels, sides[0], sides[1], last, max(batch, 1), info.dtype)


def shown(manifest: Manifest) -> Shown:
    """What the manifest states; of an older one, what its interface shows."""
    return manifest.task or guessed(manifest)


def guessed(manifest: Manifest) -> Shown:
    """What the outputs are, as far as their shapes and the labels show it without doubt.

    Numbers are scores of classes, or maps of them, if the labels fit them or if they are the only
    output of a network that takes an image. A map with as many channels as the image may be an
    image itself.
    """
    image, outputs, labels = image_input(manifest), manifest.outputs, manifest.labels
    if not outputs:
        return Shown.OUTPUTS
    if manifest.output is OutputKind.LABEL:
        return Shown.LABEL
    if manifest.output is OutputKind.TOP5:
        return Shown.CLASSES
    if image is not None and boxes_order(manifest) is not None:
        return Shown.BOXES
    shape, kind = outputs[0].shape, np.dtype(outputs[0].dtype).kind
    alone = image is not None and len(outputs) == 1 and labels is None
    if len(shape) == 2 and shape[1] > 1 and kind == "f":
        return Shown.CLASSES if alone or len(labels or ()) == shape[1] else Shown.OUTPUTS
    if image is None:
        return Shown.OUTPUTS
    if len(shape) == 4 and kind == "f":
        classes = shape[3 if outputs[0].layout is Layout.NHWC else 1]
        named = len(labels or ()) == classes or (alone and classes != image.channels)
        return Shown.MASK if named and 1 < classes <= _MOST_CLASSES else Shown.OUTPUTS
    if kind in "iu" and (len(shape) == 3 or (len(shape) == 4 and shape[1] == 1)):
        return Shown.MASK if alone or labels is not None else Shown.OUTPUTS
    return Shown.OUTPUTS


def boxes_order(manifest: Manifest) -> tuple[int, int, int] | None:
    """Which outputs are boxes [N, M, 4], scores [N, M] and classes [N, M], if these are all."""
    kinds = [(len(each.shape), np.dtype(each.dtype).kind) for each in manifest.outputs]
    boxes = [
        index
        for index, each in enumerate(manifest.outputs)
        if kinds[index] == (3, "f") and each.shape[2] == 4
    ]
    scores = [index for index, kind in enumerate(kinds) if kind == (2, "f")]
    classes = [index for index, (rank, kind) in enumerate(kinds) if rank == 2 and kind in "iu"]
    if len(boxes) == len(scores) == len(classes) == 1:
        return boxes[0], scores[0], classes[0]
    return None


Tensor = tuple[str, str, bool, float | None, int]


def file_tensors(artifact: Artifact, manifest: Manifest) -> tuple[str, list[Tensor], list[Tensor]]:
    """A file's name, and its inputs and outputs: name, type, channels last, scale, zero point.

    "Channels last" says that the file has them there and the network itself does not.
    """
    sides: list[list[Tensor]] = []
    for infos, own in ((artifact.inputs, manifest.inputs), (artifact.outputs, manifest.outputs)):
        side: list[Tensor] = []
        for info, networks in zip(infos, own, strict=True):
            last = artifact.format is Format.TFLITE and info.layout is Layout.NHWC
            scale = None if info.zero_point is None else info.scale
            moved = last and networks.layout is not Layout.NHWC
            side.append((info.name, info.dtype, moved, scale, info.zero_point or 0))
        sides.append(side)
    return artifact.path, sides[0], sides[1]


def classes_axis(manifest: Manifest) -> int | None:
    """The dimension that counts the classes in one sample of a map; None for a map of classes."""
    output = manifest.outputs[0]
    if np.dtype(output.dtype).kind in "iu":
        return None
    return 2 if output.layout is Layout.NHWC else 0


def input_values(manifest: Manifest) -> list[Any]:
    """Name, type and shape of each input of the network."""
    return [(info.name, info.dtype, info.shape) for info in manifest.inputs]
