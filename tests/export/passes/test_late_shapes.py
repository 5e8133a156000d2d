"""Sizes, bounds and conditions that a network computes from its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from support.runtimes import run_onnx

FLOAT = TensorProto.FLOAT
# The place of a sample, up to 11, is rounded by 2**-21; neighbors differ by up to 4.
ROUNDING = 4 * 2**-21


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    names = [("" if name == "-" else name) for name in inputs.split()]
    return helper.make_node(operator, names, [output], **attributes)


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    return helper.make_graph(nodes, name, [], [output])


CONSTANTS = {
    "zero": np.array([0]),
    "one": np.array([1]),
    "two": np.array([2]),
    "four": np.array([4]),
    "ten": np.float32(10),
    "half": np.array([1, 1, 2, 3], np.float32),
    "more": np.array([0, 0, 3, 5]),
    "channels": np.int64(3),
    "index": np.int64(1),
}
CASES = {
    "sizes of Resize": [
        node("Shape", "x", "s"),
        node("Add", "s more", "t"),
        node("Resize", "x - - t", "y", mode="linear"),
    ],
    "scales of Resize": [
        node("Shape", "x", "s"),
        node("Cast", "s", "f", to=FLOAT),
        node("Mul", "f half", "g"),
        node("Div", "g f", "scales"),
        node("Resize", "x - scales", "y", coordinate_transformation_mode="asymmetric"),
    ],
    "bounds of Clip": [
        node("Shape", "x", "s"),
        node("Gather", "s index", "n"),
        node("Cast", "n", "f", to=FLOAT),
        node("Div", "f ten", "high"),
        node("Neg", "high", "low"),
        node("Clip", "x low high", "y"),
    ],
    "bounds of Clip from data": [
        node("ReduceMax", "x", "m", keepdims=0),
        node("Div", "m ten", "high"),
        node("Clip", "x - high", "y"),
    ],
    "If by a shape, with results of different ranks": [
        node("GlobalAveragePool", "x", "p"),
        node("Size", "p", "n"),
        node("Equal", "n channels", "c"),
        helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=branch("then", node("Squeeze", "p", "a")),
            else_branch=branch("else", node("Neg", "p", "b")),
        ),
    ],
}


def save(path: Path, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Any]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.mark.parametrize("name", CASES)
def test_they_are_folded_once_shapes_are_known(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "n.onnx", CASES[name], CONSTANTS)
    bundle = export(path, out=tmp_path / "out", input_size=(4, 6))
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 6)).astype(np.float32)
    expected = run_onnx(path, {"x": x})["y"]
    assert len(bundle.manifest.artifacts) == 2
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(
            file, artifact.format, artifact.inputs, artifact.outputs, bundle.manifest
        )
        np.testing.assert_allclose(runner.run([x])[0], expected, atol=ROUNDING)
