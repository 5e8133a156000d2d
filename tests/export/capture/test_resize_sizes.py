"""Resizes by factors from which ONNX's shape inference and ONNX Runtime get different sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Layout
from edgeconv.errors import CaptureError, EdgeconvError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.lowering import Net
from support.runtimes import run_onnx, run_tflite

# The number before 11 / 6 in float32; six times it is 11 there, and less in float64.
BESIDE = float(np.nextafter(np.float32(11) / np.float32(6), np.float32(0)))


def resized(size: int, first: float, second: float, **attributes: object) -> onnx.ModelProto:
    """A map whose height is scaled by one factor, and then its width by another."""
    net = Net()
    y = net.input("x", (1, 2, size, size))
    for factors in ((1, 1, first, 1), (1, 1, 1, second)):
        y = net.op("Resize", y, "", net.constant(np.array(factors, np.float32)), **attributes)
    return net.output(y).proto()


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("mode", "place"),
    [
        *(("nearest", "asymmetric"), ("nearest", "half_pixel"), ("linear", "half_pixel")),
        *(("linear", "asymmetric"), ("linear", "align_corners"), ("cubic", "half_pixel")),
    ],
)
def test_the_size_is_that_of_the_runtime(
    mode: str, place: str, declared: bool, tmp_path: Path
) -> None:
    proto = resized(10, 0.7, 0.9, mode=mode, coordinate_transformation_mode=place)
    assert [dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim][2:] == [6, 8]
    if not declared:
        proto.graph.output[0].type.tensor_type.ClearField("shape")
        del proto.graph.value_info[:]
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    x = np.random.default_rng(0).standard_normal((1, 2, 10, 10)).astype(np.float32)
    (expected,) = run_onnx(path, x).values()
    assert expected.shape == (1, 2, 7, 9)
    graph = capture_file(path, None, input_size=None, batch=None).graph
    (got,) = run_onnx(graph, x).values()
    np.testing.assert_array_equal(got, expected)
    (got,) = run_tflite(lower(optimize(graph), layout=Layout.NCHW).data, x).values()
    # Two runtimes weigh sixteen neighbors in orders of their own.
    np.testing.assert_allclose(got, expected, rtol=0, atol=5e-6)


def test_a_factor_that_sizes_cannot_say_is_refused_by_name(tmp_path: Path) -> None:
    proto = resized(6, BESIDE, 1)
    proto.graph.node[0].name = "shrink"
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(CaptureError, match=r"shrink \(Resize\) has a scale") as caught:
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)
    assert caught.value.hint == "state sizes in the place of scales"


@pytest.mark.parametrize(
    ("factors", "axes", "said"),
    [
        pytest.param([[0.7]] * 4, None, r"scales of shape \[4, 1\]", id="a table"),
        pytest.param([[1, 1, 0.7, 0.7]], None, r"scales of shape \[1, 4\]", id="a row"),
        pytest.param(0.7, None, "scales", id="a scalar"),
        pytest.param([0.7, 0.7], None, "scales", id="too few"),
        pytest.param([0.7], [9], "axis value: 9", id="no such axis"),
        pytest.param([1, 1, -1, 1], None, "a scale of -1.0", id="below zero"),
        pytest.param([1, 1, np.nan, 1], None, "a scale of nan", id="no number"),
        pytest.param([1, 1, 1e30, 1], None, "the result of .* takes", id="huge"),
    ],
)
def test_factors_that_do_not_fit(
    factors: object, axes: list[int] | None, said: str, tmp_path: Path
) -> None:
    """ONNX Runtime reads a table as a list, of which ONNX infers other sizes."""
    attributes = {} if axes is None else {"axes": axes}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], name="shrink", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 10, 10))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(factors, np.float32), "scales")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "net.onnx")
    with pytest.raises(EdgeconvError, match=said) as caught:
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)
    assert "shrink (Resize" in caught.value.message
    assert caught.value.hint
