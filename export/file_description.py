"""What every model file says of itself, whoever it is passed on to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.export.labels import class_counts
from edgeconv.preprocessing import Color, Preprocessing

_BYTE = 255.0


@dataclass(frozen=True)
class Picture:
    """What an image input takes: (byte - mean) / std for each channel.

    Attributes:
        gray: Whether it has one channel, or three that are equal.
        height: In pixels.
        width: In pixels.
        mean: In bytes.
        std: In bytes.
    """

    gray: bool
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def least(self) -> tuple[float, ...]:
        """The least value of each channel."""
        return tuple((0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))

    @property
    def greatest(self) -> tuple[float, ...]:
        """The greatest value of each channel."""
        return tuple((_BYTE - mean) / std for mean, std in zip(self.mean, self.std, strict=True))


@dataclass(frozen=True)
class FileDescription:
    """What is known of a network that its files say.

    Attributes:
        name: The network.
        version: Of edgeconv.
        provenance_sha256: The same hash as in the manifest.
        inputs: The network's inputs.
        outputs: The network's outputs.
        preprocessing: How an image becomes its input.
        labels: The names of the classes.
        about: What the user says of it: description, version, author and license.
    """

    name: str
    version: str
    provenance_sha256: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)

    def picture(self) -> Picture | None:
        """What the only input takes, if it takes an image."""
        if len(self.inputs) != 1 or self.preprocessing is None or len(self.inputs[0].shape) != 4:
            return None
        (info,), how = self.inputs, self.preprocessing
        axis = 3 if info.layout is Layout.NHWC else 1
        height, width = (size for at, size in enumerate(info.shape) if at not in (0, axis))
        channels = info.shape[axis]
        if channels not in (1, 3):
            return None
        mean, std = (0.0,) * channels, (1.0,) * channels
        if not how.inside:
            mean, std = (tuple(_BYTE * each for each in side) for side in (how.mean, how.std))
        return Picture(how.color is Color.GRAY, height, width, mean, std)

    def labeled(self) -> tuple[bool, ...]:
        """For each output whether the labels name what its elements stand for, or its numbers."""
        return tuple(
            bool(self.labels)
            and (np.dtype(info.dtype).kind in "iu" or len(self.labels) in class_counts(info))
            for info in self.outputs
        )

    def properties(self) -> dict[str, str]:
        """The ``metadata_props`` of an ONNX file."""
        found = {"name": self.name, **self.about}
        found |= {"edgeconv_version": self.version, "provenance_sha256": self.provenance_sha256}
        found["inputs"] = _json([self._input(info) for info in self.inputs])
        found["outputs"] = _json([{"name": info.name} for info in self.outputs])
        if self.labels:
            found["labels"] = _json(self.labels)
        return found

    def _input(self, info: TensorInfo) -> dict[str, Any]:
        picture = self.picture()
        if picture is None:
            return {"name": info.name}
        turned = self.preprocessing is not None and self.preprocessing.color is Color.BGR
        inside = self.preprocessing is not None and self.preprocessing.inside
        color = "gray" if picture.gray else "bgr" if turned and not inside else "rgb"
        return {
            "name": info.name,
            "color": color,
            "mean": picture.mean,
            "std": picture.std,
            "min": picture.least,
            "max": picture.greatest,
        }


def _json(value: Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
