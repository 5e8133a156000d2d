"""What cannot be exported is named by its operator, before anything slow begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Precision
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import Format, export
from edgeconv.export.quantize import QuantizeOptions


def saved(path: Path, nodes: list[onnx.NodeProto], output: tuple[int, list[int | str]]) -> Path:
    """A graph from x, 1x3x4x4, to y. It has the constants ``slopes``, 3x1x1, and ``w``, 4x4."""
    slopes = np.array([0.1, 0.2, 0.3], np.float32).reshape(3, 1, 1)
    weight = np.arange(16, dtype=np.float32).reshape(4, 4) / 16
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", *output)],
        [numpy_helper.from_array(slopes, "slopes"), numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("behind", [False, True])
def test_an_output_whose_shape_an_operator_computes(tmp_path: Path, behind: bool) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"])]
    nodes += [helper.make_node("NonZero", ["n"], ["z" if behind else "y"], name="found")]
    nodes += [helper.make_node("Abs", ["z"], ["y"])] if behind else []
    path = saved(tmp_path / "n.onnx", nodes, (TensorProto.INT64, [4, "many"]))
    with pytest.raises(UnsupportedOperator, match=r"found \(NonZero\).*\n.*cut_outputs=\[.n"):
        export(path, out=tmp_path / "out")


def test_an_unknown_operator_is_refused_before_calibration(tmp_path: Path) -> None:
    """Nothing here has an int8 form, which is not the point."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["z"], name="found"),
        helper.make_node("Cast", ["z"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["y"], keepdims=0),
    ]
    path = saved(tmp_path / "n.onnx", nodes, (TensorProto.FLOAT, []))
    steps: list[str] = []
    with pytest.raises(UnsupportedOperator, match=r"found \(NonZero\)"):
        export(
            path,
            out=tmp_path / "out",
            calibration="random",
            precisions=[Precision.INT8],
            progress=lambda step, done, total: steps.append(step),
        )
    assert steps == ["Loading", "Capturing"]


def test_a_network_that_int8_does_not_cover_is_told_by_its_operators(tmp_path: Path) -> None:
    nodes = [helper.make_node("PRelu", ["x", "slopes"], ["y"])]
    path = saved(tmp_path / "n.onnx", nodes, (TensorProto.FLOAT, [1, 3, 4, 4]))
    with pytest.raises(UsageError, match=r"no operator that int8 covers \(PRelu\)\nhint: use"):
        export(path, out=tmp_path / "out", formats=[Format.ONNX], calibration="random")


def test_a_network_that_is_kept_in_float_as_a_whole_is_named_as_such(tmp_path: Path) -> None:
    """It was said to have no operator that int8 covers, and a Conv was among those named."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="layer")]
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "n.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    with pytest.raises(UsageError, match=r"asked to stay in float\nhint: name fewer"):
        export(
            path,
            out=tmp_path / "out",
            formats=[Format.ONNX],
            calibration="random",
            quantization=QuantizeOptions(effort=0, keep_float=frozenset({"*"})),
        )
