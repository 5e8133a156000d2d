"""TFLite's standard metadata, which MediaPipe and other programs read.

Its schema is metadata_schema.fbs of https://github.com/google-ai-edge/mediapipe. The numbers here
are the places of its fields. A list of labels is a file in a ZIP archive behind the model.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import flatbuffers

from edgeconv.bundle import TensorInfo
from edgeconv.export.file_description import FileDescription, Picture
from edgeconv.export.tflite.graph import Graph, Quantization, Tensor

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"

_PARSER = "1.0.0"  # has all that is written here
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_RGB, _GRAYSCALE = 1, 2
_FEATURE, _IMAGE = 1, 2
_NORMALIZATION = 1
_NO_DATE = (1980, 1, 1, 0, 0, 0)

Field = Callable[[flatbuffers.Builder, int], None]


def entries(description: FileDescription, graph: Graph) -> dict[str, bytes]:
    """The metadata of a file, by name."""
    return {
        NAME: _Writer().model(description, graph),
        "edgeconv_version": description.version.encode(),
        "provenance_sha256": description.provenance_sha256.encode(),
    }


def append_labels(path: Path, labels: Sequence[str]) -> None:
    """Append the archive with the labels to a file that mentions them, uncompressed.

    A label is one line of a file of lines.
    """
    lines = "".join(f"{' '.join(label.splitlines())}\n" for label in labels)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS, _NO_DATE), lines.encode())


class _Writer:
    """Writes the flatbuffer, from the leaves to the root."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1024)

    def model(self, description: FileDescription, graph: Graph) -> bytes:
        """The whole metadata."""
        picture = description.picture()
        if picture is not None:
            picture = _as_taken(picture, graph.inputs[0])
        inputs = [self._input(info, picture) for info in description.inputs]
        outputs = [
            self._output(info, labeled=labeled)
            for info, labeled in zip(description.outputs, description.labeled(), strict=True)
        ]
        subgraph = self._table(
            {2: self._vector(inputs), 3: self._vector(outputs)},
        )
        about = description.about
        fields = {
            0: self._text(description.name),
            1: self._text(about.get("description")),
            2: self._text(about.get("version")),
            3: self._vector([subgraph]),
            4: self._text(about.get("author")),
            5: self._text(about.get("license")),
            7: self._text(_PARSER),
        }
        self._builder.Finish(self._table(fields), file_identifier=IDENTIFIER)
        return bytes(self._builder.Output())

    def _input(self, info: TensorInfo, picture: Picture | None) -> int:
        if picture is None:
            return self._table({0: self._text(info.name), 3: self._content(_FEATURE, {})})
        size = self._table({}, numbers={0: picture.width, 1: picture.height})
        # Readers give a grayscale input one channel. Three that are equal are a picture in RGB.
        color = _GRAYSCALE if len(picture.mean) == 1 else _RGB
        content = self._content(_IMAGE, {1: size}, kind={0: color})
        normalization = self._table({0: self._floats(picture.mean), 1: self._floats(picture.std)})
        unit = self._table({1: normalization}, kind={0: _NORMALIZATION})
        stats = self._table({0: self._floats(picture.greatest), 1: self._floats(picture.least)})
        name = self._text(info.name)
        return self._table({0: name, 3: content, 4: self._vector([unit]), 5: stats})

    def _output(self, info: TensorInfo, *, labeled: bool) -> int:
        fields = {0: self._text(info.name), 3: self._content(_FEATURE, {})}
        if labeled:
            meaning = _AXIS_LABELS if info.dtype.startswith("float") else _VALUE_LABELS
            file = self._table({0: self._text(LABELS)}, kind={2: meaning})
            fields[6] = self._vector([file])
        return self._table(fields)

    def _content(
        self, kind_of: int, properties: dict[int, int], kind: dict[int, int] | None = None
    ) -> int:
        return self._table({1: self._table(properties, kind=kind)}, kind={0: kind_of})

    def _text(self, text: str | None) -> int:
        return 0 if text is None else int(self._builder.CreateString(text))

    def _floats(self, values: Sequence[float]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return int(self._builder.EndVector())

    def _vector(self, tables: Sequence[int]) -> int:
        self._builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self._builder.PrependUOffsetTRelative(table)
        return int(self._builder.EndVector())

    def _table(
        self,
        offsets: dict[int, int],
        *,
        numbers: dict[int, int] | None = None,
        kind: dict[int, int] | None = None,
    ) -> int:
        """A table with offsets, unsigned numbers and the bytes of enums, by their places."""
        numbers, kind = numbers or {}, kind or {}
        self._builder.StartObject(max([-1, *offsets, *numbers, *kind]) + 1)
        for place, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(place, offset, 0)
        for place, number in numbers.items():
            self._builder.PrependUint32Slot(place, number, 0)
        for place, byte in kind.items():
            self._builder.PrependUint8Slot(place, byte, 0)
        return int(self._builder.EndObject())


def _as_taken(picture: Picture, tensor: Tensor) -> Picture:
    """What a tensor takes that integers are put into: the bytes themselves, by its own scale.

    A reader subtracts the mean, divides by std and then quantizes.
    """
    quantization = tensor.quantization
    whole = {*picture.mean} == {0.0} and {*picture.std} == {1.0}
    if not (whole and isinstance(quantization, Quantization)):
        return picture
    zero = quantization.zero_point + (128 if tensor.dtype == "int8" else 0)
    count = len(picture.mean)
    return replace(picture, mean=(float(zero),) * count, std=(1 / quantization.scale,) * count)
