"""What lies in the place of a file, as every reader of files names it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeconv.array_file import stored_arrays
from edgeconv.errors import EdgeconvError
from edgeconv.export.capture.program import load_program
from edgeconv.export.capture.read_onnx import read_onnx_file
from edgeconv.export.capture.weights_file import read_weights_file
from edgeconv.export.data.decode import decode
from edgeconv.export.inspect import inspect_file
from edgeconv.stand_in import stand_in

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def picture(path: Path) -> None:
    decode(path, gray=False, background=(0, 0, 0), exif_rotation=True)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.npz", stored_arrays),
        ("a.npy", stored_arrays),
        ("a.pth", read_weights_file),
        ("a.safetensors", read_weights_file),
        ("a.onnx", read_onnx_file),
        ("a.onnx", inspect_file),
        ("a.tflite", inspect_file),
        ("a.pt2", lambda path: load_program(path, {})),
        ("a.jpg", picture),
    ],
)
def test_every_reader_names_a_pointer(
    name: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(EdgeconvError, match=r"is a pointer of Git LFS.*\n?.*git lfs pull"):
        read(tmp_path / name)


def test_a_pointer_in_place_of_external_weights(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", 1, [4096])
    weight = onnx.numpy_helper.from_array(np.ones(4096, np.float32), "w")
    node = onnx.helper.make_node("Mul", ["x", "w"], ["y"])
    output = onnx.helper.make_tensor_value_info("y", 1, [4096])
    graph = onnx.helper.make_graph([node], "g", [value], [output], [weight])
    onnx.save(
        onnx.helper.make_model(graph), tmp_path / "a.onnx", save_as_external_data=True, location="w"
    )
    (tmp_path / "w").write_bytes(POINTER)
    for read in (read_onnx_file, inspect_file):
        with pytest.raises(EdgeconvError, match="w is a pointer of Git LFS"):
            read(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\n<!DOCTYPE html><html>", "a web page, not the file itself"),
        (gzip.compress(b"0", mtime=0), "compressed with gzip"),
        (b"version https://git-lfs", None),
        (b"", None),
    ],
)
def test_what_is_recognized(content: bytes, what: str | None, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    found = stand_in(tmp_path / "f")
    assert (found and found.what) == what
    assert stand_in(tmp_path / "missing") is None
