"""Files that are not as ONNX's standard says: the node is named, with what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.capture.read_onnx import read_onnx_file


def written(path: Path, node: onnx.NodeProto, opset: int) -> Path:
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 8, 8])],
    )
    opsets = [helper.make_opsetid(domain, opset) for domain in {"", node.domain}]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("operator", "options", "opset", "message", "hint"),
    [
        ("Reluu", {"name": "act"}, 17, "act (Reluu) is not an operator of ONNX", "'Relu'"),
        ("Gelu", {"name": "act"}, 17, "of opset 20 and later, and the file states opset 17", "20"),
        ("LeakyRelu", {"alfa": 0.1}, 17, "y (LeakyRelu) has the attribute 'alfa'", "'alpha'"),
        ("Scaler", {"domain": "ai.onnx.ml"}, 3, "domain 'ai.onnx.ml'", "outside"),
        ("Own", {"domain": "my.own"}, 18, "domain 'my.own'", "as a function of the file"),
    ],
)
def test_the_node_is_named(
    operator: str, options: dict[str, object], opset: int, message: str, hint: str, tmp_path: Path
) -> None:
    path = written(
        tmp_path / "file.onnx", helper.make_node(operator, ["x"], ["y"], **options), opset
    )
    with pytest.raises(CaptureError) as raised:
        capture_file(path, opset=None, input_size=None, batch=None)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_metadata_that_is_stated_twice_is_no_fault(tmp_path: Path) -> None:
    path = written(tmp_path / "file.onnx", helper.make_node("Relu", ["x"], ["y"]), 17)
    proto = onnx.load(path)
    for value in ("first", "last"):
        proto.metadata_props.add(key="author", value=value)
    onnx.save(proto, path)
    read, changed = read_onnx_file(path)
    assert changed
    assert {entry.key: entry.value for entry in read.metadata_props} == {"author": "last"}


def test_nothing_is_written_past_the_messages(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """onnx-ir writes of weights that it does not find, and onnx's converter in C++."""
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array([1, 5], np.int64), "places")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node("Upsample", ["c", "s"], ["y"], mode="nearest"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 8, 8])],
        [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s")],
        sparse_initializer=[helper.make_sparse_tensor(values, places, [2, 3, 1, 1])],
        value_info=[helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 2, 9, 9])],
    )
    path = tmp_path / "file.onnx"
    opsets = [helper.make_opsetid("", 9)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    capture_file(path, opset=None, input_size=None, batch=None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", [b"LeakyRelu", b"alpha"])
def test_bytes_that_are_no_text(text: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "m.onnx", helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.5), 17)
    path.write_bytes(path.read_bytes().replace(text, b"\xff" + text[1:]))
    with pytest.raises(CaptureError, match="is not a valid ONNX file"):
        read_onnx_file(path)
