"""Sizes below zero in front of a Slice, on which ONNX's shape inference ends the process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from edgeconv.cli import cli
from edgeconv.errors import CaptureError
from edgeconv.export import export

RNG = np.random.default_rng(0)


def sliced(
    path: Path, node: onnx.NodeProto, size: Sequence[int | str], *constants: onnx.TensorProto
) -> Path:
    """A node that makes ``a`` of ``x``, and the first columns of that."""
    ends = {"begin": [0], "end": [2], "axis": [3]}
    graph = helper.make_graph(
        [node, helper.make_node("Slice", ["a", "begin", "end", "axis"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [*constants, *[numpy_helper.from_array(np.array(v), n) for n, v in ends.items()]],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def conv() -> tuple[onnx.NodeProto, onnx.TensorProto]:
    weights = RNG.standard_normal((3, 3, 11, 11)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["a"], name="wide")
    return node, numpy_helper.from_array(weights, "w")


@pytest.mark.parametrize("size", [(1, 3, 8, 8), (1, 3, "h", "w")])
def test_a_layer_that_is_larger_than_its_input(size: Sequence[int | str], tmp_path: Path) -> None:
    node, weights = conv()
    path = sliced(tmp_path / "m.onnx", node, size, weights)
    with pytest.raises(CaptureError, match=r"wide \(Conv\) makes \[1, 3, -2, -2\]\nhint: .*larger"):
        export(path, out=tmp_path / "out", input_size=(8, 8))
    assert not (tmp_path / "out").exists()
    shown = CliRunner().invoke(cli, ["inspect", str(path)])
    assert shown.exit_code == 0
    assert "shapes could not be inferred" in shown.output


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 3, 16, 16), (1, 3, -1, -1), (-1, 3, 16, 16)])
def test_sizes_below_zero_are_open(size: Sequence[int | str], tmp_path: Path) -> None:
    node, weights = conv()
    path = sliced(tmp_path / "m.onnx", node, size, weights)
    bundle = export(path, out=tmp_path / "out", input_size=(16, 16))
    assert bundle.manifest.inputs[0].shape == (1, 3, 16, 16)
    assert bundle.manifest.outputs[0].shape == (1, 3, 6, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tries inference in a copy")
def test_a_layer_behind_a_slice(tmp_path: Path) -> None:
    """Its size follows from a Slice, so that the layer is not named."""
    node, weights = conv()
    path = sliced(tmp_path / "m.onnx", node, (1, 3, 16, 16), weights)
    model = onnx.load(path)
    nodes = [
        helper.make_node("Slice", ["x", "begin", "end", "axis"], ["short"]),
        helper.make_node("Conv", ["short", "w"], ["a"], name="wide"),
        model.graph.node[1],
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    with pytest.raises(CaptureError, match=r"a size in it is below zero\nhint:"):
        export(path, out=tmp_path / "out")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tries inference in a copy")
@pytest.mark.parametrize(("kind", "given"), [("EyeLike", {"dtype": 1}), ("RegexFullMatch", {})])
def test_an_input_without_a_type(kind: str, given: dict[str, int], tmp_path: Path) -> None:
    """ONNX infers no type of what an operator of another domain computes."""
    nodes = [
        helper.make_node("Mystery", ["x"], ["a"], domain="theirs"),
        helper.make_node(kind, ["a"], ["y"], name="blind", **given),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("theirs", 1)]
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    with pytest.raises(CaptureError, match=rf"blind \({kind}\) reads is not known\nhint:"):
        export(path, out=tmp_path / "out")
    assert CliRunner().invoke(cli, ["inspect", str(path)]).exit_code == 0
