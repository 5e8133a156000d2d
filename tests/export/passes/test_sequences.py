"""Sequences with constant positions, against ONNX Runtime in both formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from support.runtimes import run_onnx


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


CONSTANTS = {
    "zero": np.int64(0),
    "one": np.int64(1),
    "last": np.int64(-1),
    "lengths": np.array([2, 3]),
    "two": np.int64(2),
}
BODY = helper.make_graph(
    [node("Sub", "a c", "d"), node("Mul", "d k", "e"), node("Add", "e b", "f")],
    "body",
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abc"],
    [helper.make_tensor_value_info("f", TensorProto.FLOAT, None)],
    [numpy_helper.from_array(np.float32(3), "k")],
)
CASES = {
    "at": [node("SequenceConstruct", "x w", "s"), node("SequenceAt", "s last", "y")],
    "joined": [
        node("SequenceConstruct", "x w", "s"),
        node("ConcatFromSequence", "s", "y", axis=0),
    ],
    "stacked": [
        node("SequenceConstruct", "x w x", "s"),
        node("ConcatFromSequence", "s", "y", axis=-1, new_axis=1),
    ],
    "split by lengths": [
        node("SplitToSequence", "x lengths", "s", axis=1),
        node("SequenceErase", "s zero", "rest"),
        node("SequenceAt", "s zero", "first"),
        node("SequenceInsert", "rest first", "turned"),
        node("ConcatFromSequence", "turned", "y", axis=1),
    ],
    "split by a size": [
        node("SplitToSequence", "x two", "s", axis=-1),
        node("SequenceLength", "s", "n"),
        node("Cast", "n", "f", to=TensorProto.FLOAT),
        node("SequenceAt", "s two", "part"),
        node("Mul", "part f", "y"),
    ],
    "split without the dimension": [
        node("SplitToSequence", "x", "s", axis=1, keepdims=0),
        node("SequenceAt", "s last", "a"),
        node("SequenceAt", "s one", "b"),
        node("Sub", "a b", "y"),
    ],
    "mapped": [
        node("SequenceConstruct", "x x", "s"),
        node("SequenceConstruct", "w x", "t"),
        node("SequenceMap", "s t w", "m", body=BODY),
        node("ConcatFromSequence", "m", "y", axis=0),
    ],
    "from nothing": [
        node("SequenceEmpty", "", "e"),
        node("SequenceInsert", "e x", "a"),
        node("SequenceInsert", "a w zero", "b"),
        node("ConcatFromSequence", "b", "y", axis=0),
    ],
}


def save(path: Path, nodes: Sequence[onnx.NodeProto]) -> Path:
    constants = {**CONSTANTS, "w": np.arange(10, dtype=np.float32).reshape(2, 5)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("name", CASES)
def test_constant_positions(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "n.onnx", CASES[name])
    bundle = export(path, out=tmp_path / "out")
    x = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    expected = run_onnx(path, {"x": x})["y"]
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        (got,) = runner.run([x])
        assert np.array_equal(got, expected), artifact.path


def test_a_sequence_is_no_output(tmp_path: Path) -> None:
    path = save(tmp_path / "n.onnx", CASES["split by a size"])
    model = onnx.load(path)
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output.append(helper.make_value_info("s", kind))
    onnx.save(model, path)
    with pytest.raises(CaptureError, match="'s' is not a tensor but Sequence") as caught:
        export(path, out=tmp_path / "out")
    assert "--cut-outputs" in caught.value.hint
