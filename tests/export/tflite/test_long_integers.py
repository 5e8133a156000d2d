"""Arithmetic on int64, of which TFLite has some kernels in int32 only, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.export import export
from edgeconv.export.passes import optimize
from edgeconv.export.runtimes import open_runner
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.integer_bounds import Bounds, bounds_of
from support.runtimes import run_onnx, run_tflite

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


LONG = np.array([[2**40 + 7, -(2**41) - 3, 2**53 + 1, -(2**63), 2**63 - 1, 5, -5, 0]])
BY = np.array([[3, -3, 2**34, -2, 2**31, -(2**31), 2, 7]])


def lowered(operator: str, second: np.ndarray | None, **attributes: Any) -> tuple[Any, Any]:
    """What LiteRT and ONNX Runtime compute of numbers that need more than 32 bits."""
    inputs = {"x": LONG} if second is None else {"x": LONG, "d": second}
    graph = helper.make_graph(
        [helper.make_node(operator, list(inputs), ["y"], "node", **attributes)],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
    )
    opsets = [helper.make_opsetid("", 18)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    tflite = lower(optimize(ir.from_proto(proto)), layout=Layout.NCHW).data
    return run_tflite(tflite, inputs)["y"], run_onnx(proto, inputs)["y"]


@pytest.mark.parametrize(
    ("operator", "second"),
    [
        ("Div", BY),
        ("Div", np.array(1000)),
        ("BitwiseAnd", BY),
        ("BitwiseAnd", np.array(0xFFFFFFFFF)),
        ("BitwiseOr", BY),
        ("BitwiseXor", BY),
        ("MatMul", BY.T),
    ],
)
def test_no_bit_beyond_32_is_lost(operator: str, second: np.ndarray) -> None:
    got, expected = lowered(operator, second)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("operator", "place"), [("ArgMax", 4), ("ArgMin", 3)])
def test_places_of_extremes_beyond_32_bits(operator: str, place: int) -> None:
    got, expected = lowered(operator, None, axis=1)
    assert got.item() == expected.item() == place


def test_powers_wrap_around_in_64_bits() -> None:
    exponents = np.array([[2, 0, 1, 1, 1, 27, 13, 5]])
    got, _ = lowered("Pow", exponents)  # ONNX Runtime computes them in float64
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, LONG**exponents)


def test_what_fits_into_32_bits_is_divided_there() -> None:
    node = ir.node("ArgMax", [ir.val("x", ir.DataType.FLOAT, (2, 300))], {"axis": 1})
    node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    place = node.outputs[0]
    assert bounds_of(place) == Bounds(0, 299)
    double = ir.node("Add", [place, place]).outputs[0]
    double.type = ir.TensorType(ir.DataType.INT64)
    assert bounds_of(double).fit_in_32_bits
    assert not bounds_of(ir.val("y", ir.DataType.INT64, (1,))).fit_in_32_bits
