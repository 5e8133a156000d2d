"""Layers in float between integers: ONNX Runtime computes them in float too."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.export.precision import make_variant
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.verify.operators import check_operators, run_exactly
from support.lowering import smooth
from support.precision import Samples, first_outputs_onnx

# Channels whose weights differ a thousandfold: one scale for all of them would lose the small ones.
_SPREAD = np.geomspace(1e-3, 1.0, 8)
CONSTANTS = {
    "stem_w": (8, 8, 1, 1),
    "stem_b": (8,),
    "conv_w": (8, 8, 1, 1),
    "conv_b": (8,),
    "up_w": (8, 8, 2, 2),
    "up_b": (8,),
    "gemm_w": (8, 8),
    "gemm_b": (8,),
    "mat_w": (8, 8),
}
GRAPHS = {
    "Conv": "m = Conv(s, conv_w, conv_b)",
    "Conv with Relu": "a = Conv(s, conv_w, conv_b) m = Relu(a)",
    "ConvTranspose": "m = ConvTranspose(s, up_w, up_b)",
    "Gemm": "p = GlobalAveragePool(s) f = Flatten(p) m = Gemm <transB = 1> (f, gemm_w, gemm_b)",
    "MatMul": "p = GlobalAveragePool(s) f = Flatten(p) m = MatMul(f, mat_w)",
    "MatMul with Add": "p = GlobalAveragePool(s) f = Flatten(p) a = MatMul(f, mat_w)"
    " m = Add(a, gemm_b)",
    "AveragePool with ceil_mode": "m = AveragePool <kernel_shape = [3, 3], strides = [2, 2],"
    " pads = [1, 1, 1, 1], ceil_mode = 1, count_include_pad = 1> (s)",
    "AveragePool with dilations": "m = AveragePool <kernel_shape = [2, 2], dilations = [4, 4],"
    " strides = [1, 1], pads = [1, 1, 1, 1]> (s)",
}
SIDES = {"Flatten": 0, "ConvTranspose": 7, "AveragePool": 4}


def network(body: str, scale: float = 1.0) -> ir.Model:
    """A graph whose last operator reads ``m`` in integers."""
    rng = np.random.default_rng(0)
    constants = []
    for name, shape in CONSTANTS.items():
        array = rng.normal(0, 0.5, shape) * _SPREAD.reshape(-1, *[1] * (len(shape) - 1))
        array *= scale if name.startswith("stem") else 1.0
        if name in body or name.startswith("stem"):
            dims, values = ",".join(map(str, shape)), ",".join(f"{x:.9e}" for x in array.ravel())
            constants.append(f"float[{dims}] {name} = {{{values}}}")
    side = next((side for name, side in SIDES.items() if name in body), 6)
    shape = f"1,8,{side},{side}" if side else "1,8"
    text = (
        f'<ir_version: 9, opset_import: ["" : 20]> g (float[1,8,6,6] x) => (float[{shape}] y)'
        f" <{', '.join(constants)}> {{ s = Conv(x, stem_w, stem_b) {body} y = Mul(m, m) }}"
    )
    model = ir.from_onnx_text(text)
    for index, node in enumerate(model.graph):
        node.name = f"n{index}_{node.op_type}"
    return ir.passes.common.ShapeInferencePass()(model).model


@pytest.fixture
def samples() -> Samples:
    return [(smooth((1, 8, 6, 6), seed),) for seed in range(6)]


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT16X8])
@pytest.mark.parametrize("kind", GRAPHS)
def test_both_runtimes_compute_in_float(kind: str, precision: Precision, samples: Samples) -> None:
    # The bias in int32 would be beyond its range where the input is so small.
    graph = network(GRAPHS[kind], scale=1e-9 if kind == "Gemm" else 1.0)
    layers = [node.op_type for node in graph.graph][1:-1]
    options = QuantizeOptions(effort=0, keep_float=frozenset({"m"}))
    if kind == "MatMul with Add":
        options = QuantizeOptions(effort=0, keep_float=frozenset({"a", "m"}))
    quantized = quantize(graph, samples, options)
    assert quantized.in_float, layers
    variant = make_variant(precision, graph, quantized, IoType.FLOAT32)
    assert variant.checked is not None
    exact = run_exactly(variant.checked, samples)
    expected = np.stack([outputs[0] for outputs in exact.outputs])
    for format in Format:
        figures = check_operators(format, variant.checked, samples, exact.integers)
        assert not figures.failed, (format, figures)
    by_onnx = first_outputs_onnx(variant.onnx, samples).reshape(expected.shape)
    # The same float operators: at most an addition in another order decides a rounding.
    step = variant.checked.steps[0]
    assert np.abs(by_onnx - expected).max() <= (step or 0) * 1.001
    assert np.mean(by_onnx != expected) <= 0.01


def test_a_layer_that_only_an_output_reads_needs_no_sum(samples: Samples) -> None:
    graph = network(GRAPHS["Conv"])
    last = QuantizeOptions(effort=0, keep_float=frozenset({"m", "y"}))
    variant = make_variant(Precision.INT8, graph, quantize(graph, samples, last), IoType.FLOAT32)
    assert "Sum" not in {node.op_type for node in variant.onnx.graph}
