"""Arithmetic on int64, of which TFLite computes some in int32, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import UnsupportedOperator
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from support.runtimes import run_onnx

X = np.array([[7, -9, 5, 0, -3, 100]])
D = np.array([[2, 4, -3, 5, 2, -7]])


def exported(tmp_path: Path, operator: str, second: np.ndarray | None, **attributes: Any) -> Any:
    names = ["x", "d"] if second is not None else ["x"]
    output = TensorProto.BOOL if operator in ("Less", "Equal") else TensorProto.INT64
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], "node", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.INT64, X.shape)],
        [helper.make_tensor_value_info("y", output, None)],
        [] if second is None else [numpy_helper.from_array(second, "d")],
    )
    path = tmp_path / "n.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    bundle = export(path, out=tmp_path / "out", formats=["tflite"])
    (artifact,) = bundle.manifest.artifacts
    file = bundle.file(artifact)
    (got,) = open_runner(file, artifact.format, artifact.inputs, artifact.outputs).run([X])
    return got, run_onnx(path, {"x": X})["y"]


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1}), ("Less", {}), ("Equal", {}), ("Max", {})],
)
def test_quotients_and_comparisons(
    tmp_path: Path, operator: str, attributes: dict[str, Any]
) -> None:
    got, expected = exported(tmp_path, operator, D, **attributes)
    assert got.dtype == expected.dtype
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("exponent", [2, 3, 4])
def test_powers(tmp_path: Path, exponent: int) -> None:
    got, expected = exported(tmp_path, "Pow", np.array(exponent))
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("operator", ["ArgMax", "ArgMin"])
def test_places_of_extremes(tmp_path: Path, operator: str) -> None:
    got, expected = exported(tmp_path, operator, None, axis=1)
    assert np.array_equal(got, expected)


def test_a_divisor_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperator, match=r"node \(Div\): d does not fit into the 32 bits"):
        exported(tmp_path, "Div", np.array(2**40))
