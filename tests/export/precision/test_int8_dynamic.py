"""int8-dynamic: the same integers in both formats, no data needed, a quarter of the size."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.bundle import Format, Precision
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.precision.int8_dynamic_onnx import DynamicModel, quantize_dynamically
from edgeconv.export.precision.int8_dynamic_tflite import quantize_weights
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.precision import (
    Samples,
    constants,
    first_outputs_onnx,
    first_outputs_tflite,
    initializer,
)

pytestmark = pytest.mark.slow


def tflite_of(graph: ir.Model, dynamic: DynamicModel) -> bytes:
    return bytes(lower(graph, finish=partial(quantize_weights, weights=dynamic.weights)).data)


@pytest.fixture(scope="module")
def dynamic(graph: ir.Model) -> DynamicModel:
    return quantize_dynamically(graph)


def test_both_formats_compute_the_same(
    graph: ir.Model, dynamic: DynamicModel, samples: Samples, expected: np.ndarray
) -> None:
    by_onnx = first_outputs_onnx(dynamic.model, samples)
    by_tflite = first_outputs_tflite(tflite_of(graph, dynamic), samples)
    # 8 bits, of which a handful of layers takes one or two.
    assert sqnr_db(expected, by_onnx) > 25
    assert sqnr_db(expected, by_tflite) > 25
    # The same integers with scales from the same ranges differ where a value lies between two.
    assert sqnr_db(by_onnx, by_tflite) > 40


def test_the_weights_are_the_same_integers(graph: ir.Model, dynamic: DynamicModel) -> None:
    stored = [
        (array, scales)
        for array, scales in constants(tflite_of(graph, dynamic))
        if array.dtype == np.int8
    ]
    assert len(stored) == len(dynamic.weights) == 5
    for name in dynamic.weights:
        codes = initializer(dynamic.model, f"{name}_quantized")
        scale = initializer(dynamic.model, f"{name}_scale").reshape(-1)
        if codes.ndim == 4:
            wanted = (codes.astype(np.int16) - 128).astype(np.int8).transpose(0, 2, 3, 1)
        else:
            wanted = codes.T[:, None, None, :]
        assert any(
            np.array_equal(array, wanted) and np.array_equal(scales, scale)
            for array, scales in stored
        ), name


def test_what_keeps_float_weights_is_named(dynamic: DynamicModel) -> None:
    (left,) = dynamic.float_fallback
    assert "grouped" in left
    kinds = Counter(node.op_type for node in dynamic.model.graph)
    assert (kinds["ConvInteger"], kinds["MatMulInteger"], kinds["Conv"]) == (3, 2, 1)
    # left and right read the same activation: it is quantized once.
    assert kinds["DynamicQuantizeLinear"] == 4


def test_nothing_unused_is_kept(dynamic: DynamicModel) -> None:
    """A bias in the shape of its scales once stood beside the one that nothing read any more."""
    assert [v.name for v in dynamic.model.graph.initializers.values() if not v.uses()] == []


def test_recurrent_cells_are_named() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[4, 1, 3] x) => (float[4, 1, 1, 2] y)
        <float[3, 3] m = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[1, 2, 3] w = {1, 2, 3, 4, 5, 6},
         float[1, 2, 2] r = {1, 2, 3, 4}>
        { h = MatMul(x, m)  y = RNN<hidden_size=2>(h, w, r) }
    """)
    proto.graph.node[1].name = "cell"
    found = quantize_dynamically(ir.from_proto(proto))
    (left,) = found.float_fallback
    assert left.startswith("cell (RNN): a recurrent cell")


def test_the_old_runtime_takes_it(
    graph: ir.Model, dynamic: DynamicModel, samples: Samples, tflite214: object
) -> None:
    data = tflite_of(graph, dynamic)
    image = np.ascontiguousarray(np.moveaxis(samples[0][0], 1, -1))
    (got,) = tflite214(data, {"x": image}).values()  # type: ignore[operator]
    assert sqnr_db(first_outputs_tflite(data, samples[:1])[0], got) > 40


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_convolutions(data: st.DataObject) -> None:
    draw = data.draw
    kernel, stride, dilation = (draw(st.integers(1, 3)) for _ in range(3))
    cin, cout = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weight = rng.standard_normal((cout, cin, kernel, kernel)).astype(np.float32)
    bias = rng.standard_normal(cout).astype(np.float32)
    x = rng.standard_normal((1, cin, 9, 8)).astype(np.float32)
    node = onnx.helper.make_node(
        "Conv",
        ["x", "w", "b"] if draw(st.booleans()) else ["x", "w"],
        ["y"],
        strides=[stride, stride],
        dilations=[dilation, dilation],
        pads=pads,
    )
    check_close(node, x, {"w": weight, "b": bias})


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (6,), (1,)])
def test_gemm(transposed: int, bias: tuple[int, ...] | None) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 8) if transposed else (8, 6)).astype(np.float32)
    inputs = ["x", "w"] if bias is None else ["x", "w", "b"]
    node = onnx.helper.make_node("Gemm", inputs, ["y"], transB=transposed)
    x = rng.standard_normal((1, 8)).astype(np.float32)
    check_close(node, x, {"w": weight, "b": np.ones(bias or 1, np.float32)})


@pytest.mark.parametrize("shape", [(1, 8), (5, 8), (2, 3, 8)])
def test_matmul(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((8, 6)).astype(np.float32)
    x = rng.standard_normal(shape).astype(np.float32)
    check_close(onnx.helper.make_node("MatMul", ["x", "w"], ["y"]), x, {"w": weight})


def check_close(node: onnx.NodeProto, x: np.ndarray, weights: dict[str, np.ndarray]) -> None:
    """Both dynamic forms of a node against its float form."""
    used = {name: array for name, array in weights.items() if name in node.input}
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node],
            "g",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in used.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 20)],
        ir_version=9,
    )
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    dynamic = quantize_dynamically(graph)
    wanted = first_outputs_onnx(graph, [(x,)])[0]
    by_onnx = first_outputs_onnx(dynamic.model, [(x,)])[0]
    by_tflite = first_outputs_tflite(tflite_of(graph, dynamic), [(x,)])[0]
    if by_tflite.ndim == 4:
        by_tflite = np.moveaxis(by_tflite, -1, 1)
    # Half a step of each factor of every product: |w| <= 127 steps and |x| <= 255 steps.
    depth = used["w"].size / max(wanted.shape[1] if wanted.ndim == 4 else wanted.shape[-1], 1)
    step = (np.ptp(x) / 255) * np.abs(used["w"]).max() + np.abs(used["w"]).max() / 127 * (
        np.abs(x).max()
    )
    np.testing.assert_allclose(by_onnx, wanted, rtol=0, atol=step * depth)
    np.testing.assert_allclose(by_tflite, wanted, rtol=0, atol=step * depth)


def test_no_data_a_quarter_of_the_size_and_verified(network: nn.Module, tmp_path: Path) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=(3, 16, 16),
        precisions=[Precision.FLOAT32, Precision.INT8_DYNAMIC],
        batch=2,
    )
    size = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format in Format:
        # A quarter of 77 thousand weights, and scales, names and shapes.
        ratio = size[format, Precision.INT8_DYNAMIC] / size[format, Precision.FLOAT32]
        assert 0.25 < ratio < 0.32
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    assert bundle.manifest.calibration is None


def test_one_format_is_still_compared(network: nn.Module, tmp_path: Path) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=(3, 16, 16),
        precisions=[Precision.INT8_DYNAMIC],
        formats=[Format.TFLITE],
    )
    (artifact,) = bundle.manifest.artifacts
    assert artifact.verification
    assert artifact.verification.sqnr_db_to_other_format
    assert artifact.verification.sqnr_db_to_other_format > artifact.verification.sqnr_db


def test_a_network_without_weights_is_refused() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[2] x) => (float[2] y) { y = Relu(x) }
    """)
    with pytest.raises(UsageError, match="no convolution or matrix product"):
        quantize_dynamically(ir.from_proto(proto))
