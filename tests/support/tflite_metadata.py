"""A reader of TFLite's standard metadata, made from the public metadata_schema.fbs."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types, table

# Each table's fields in their order; a kind is a scalar's format, "text", "[f]", the name of a
# table, or that in brackets for a vector. A union is its type and its value.
TABLES: dict[str, list[tuple[str, str]]] = {
    "ModelMetadata": [
        ("name", "text"),
        ("description", "text"),
        ("version", "text"),
        ("subgraph_metadata", "[SubGraphMetadata]"),
        ("author", "text"),
        ("license", "text"),
        ("associated_files", "[AssociatedFile]"),
        ("min_parser_version", "text"),
    ],
    "SubGraphMetadata": [
        ("name", "text"),
        ("description", "text"),
        ("input_tensor_metadata", "[TensorMetadata]"),
        ("output_tensor_metadata", "[TensorMetadata]"),
    ],
    "TensorMetadata": [
        ("name", "text"),
        ("description", "text"),
        ("dimension_names", "[text]"),
        ("content", "Content"),
        ("process_units", "[ProcessUnit]"),
        ("stats", "Stats"),
        ("associated_files", "[AssociatedFile]"),
    ],
    "Content": [("content_properties_type", "B"), ("content_properties", "Properties")],
    "Properties": [("color_space", "b"), ("default_size", "ImageSize")],
    "ImageSize": [("width", "I"), ("height", "I")],
    "ProcessUnit": [("options_type", "B"), ("options", "NormalizationOptions")],
    "NormalizationOptions": [("mean", "[f]"), ("std", "[f]")],
    "Stats": [("max", "[f]"), ("min", "[f]")],
    "AssociatedFile": [("name", "text"), ("description", "text"), ("type", "b")],
}


def entries(path: Path) -> dict[str, bytes]:
    """What the model has under each name."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata
    }


def read(path: Path) -> dict[str, Any]:
    """The standard metadata."""
    data = entries(path)["TFLITE_METADATA"]
    assert data[4:8] == b"M001"
    (root,) = struct.unpack_from("<I", data)
    return _table(table.Table(bytearray(data), root), "ModelMetadata")


def files(path: Path) -> dict[str, bytes]:
    """The files in the archive behind the model."""
    with zipfile.ZipFile(path) as archive:
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        return {name: archive.read(name) for name in archive.namelist()}


def _table(at: Any, kind: str) -> dict[str, Any]:
    found = {}
    for place, (name, what) in enumerate(TABLES[kind]):
        offset = at.Offset(4 + 2 * place)
        if offset:
            found[name] = _value(at, offset, what)
    return found


def _value(at: Any, offset: int, what: str) -> Any:
    if what == "text":
        return at.String(at.Pos + offset).decode()
    if what in TABLES:
        return _table(table.Table(at.Bytes, at.Indirect(at.Pos + offset)), what)
    if what.startswith("["):
        start, count, inner = at.Vector(offset), at.VectorLen(offset), what[1:-1]
        if inner == "f":
            return list(struct.unpack_from(f"<{count}f", at.Bytes, start))
        places = [start + 4 * index for index in range(count)]
        return [_table(table.Table(at.Bytes, at.Indirect(place)), inner) for place in places]
    flags = {"b": number_types.Int8Flags, "B": number_types.Uint8Flags}
    return at.Get(flags.get(what, number_types.Uint32Flags), at.Pos + offset)
