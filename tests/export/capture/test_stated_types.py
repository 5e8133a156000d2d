"""Files whose stated shapes or types are not those that their operators make."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.capture.read_onnx import read_onnx_file

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
OPTIONS = {"opset": None, "input_size": None, "batch": None}


def written(path: Path, stated: ValueInfoProto | None, output: list[int], opset: int = 17) -> Path:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv1"),
            helper.make_node("Relu", ["c"], ["y"], name="relu1"),
        ],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, output)],
        [numpy_helper.from_array(weight, "w")],
        value_info=[] if stated is None else [stated],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("shape", "kind", "output", "said"),
    [
        ([1, 4, 5, 5], FLOAT, [1, 4, 6, 6], "float32 [1, 4, 5, 5] for 'c'"),
        ([8, 4, 6, 6], FLOAT, [1, 4, 6, 6], "float32 [8, 4, 6, 6] for 'c'"),
        ([1, 4], FLOAT, [1, 4, 6, 6], "float32 [1, 4] for 'c'"),
        ([1, 4, 6, 6], INT64, [1, 4, 6, 6], "int64 [1, 4, 6, 6] for 'c'"),
        (None, FLOAT, [1, 144], "float32 [1, 144] for 'y'"),
    ],
)
def test_what_operators_make_counts(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    shape: list[int] | None,
    kind: int,
    output: list[int],
    said: str,
    opset: int,
) -> None:
    stated = None if shape is None else helper.make_tensor_value_info("c", kind, shape)
    path = written(tmp_path / "file.onnx", stated, output, opset)
    with caplog.at_level(logging.WARNING):
        captured = capture_file(path, **OPTIONS)
    assert "file.onnx contradicts itself" in caplog.text
    assert said in caplog.text
    assert [*captured.graph.graph.outputs[0].shape] == [1, 4, 6, 6]
    # What the files are held against runs, also where ONNX Runtime refuses the file itself.
    assert isinstance(captured.itself, bytes)
    (result,) = onnxruntime.InferenceSession(captured.itself).run(
        None, {"x": np.ones((1, 3, 8, 8), np.float32)}
    )
    assert result.shape == (1, 4, 6, 6)


def test_a_file_that_is_right_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stated = helper.make_tensor_value_info("c", FLOAT, [1, 4, 6, "width"])
    path = written(tmp_path / "file.onnx", stated, [1, 4, 6, 6])
    assert not read_onnx_file(path)[1]
    assert not caplog.text


@pytest.mark.parametrize(("features", "hint"), [(5, "make it again"), ("n", "--input NAME:SHAPE")])
@pytest.mark.parametrize(("name", "shown"), [("mm", "mm"), ("", "y")])
def test_operators_that_do_not_fit_are_named_with_what_they_read(
    tmp_path: Path, features: int | str, hint: str, name: str, shown: str
) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name=name)],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, features])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 3])],
        [weight],
    )
    path = tmp_path / "file.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    with pytest.raises(CaptureError) as raised:
        capture_file(path, opset=None, input_size=(5,), batch=None)
    assert f"at {shown} (MatMul: x is float32 [1, 5], w is float32 [4, 3])" in raised.value.message
    assert hint in raised.value.hint
