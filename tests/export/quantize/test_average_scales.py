"""An average has a scale of its own where that costs nothing on a board."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.export.passes import optimize
from edgeconv.export.precision import make_variant
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.export.verify.operators import check_operators, run_exactly
from edgeconv.metrics import sqnr_db
from support.precision import first_outputs_onnx, first_outputs_tflite
from support.runtimes import tflite_interpreter

SAMPLES = [
    (np.random.default_rng(seed).standard_normal((1, 4, 12, 12)).astype(np.float32),)
    for seed in range(6)
]


@pytest.mark.parametrize(
    ("attributes", "size", "gain"),
    [
        ("kernel_shape = [2, 2], strides = [2, 2]", 6, 2),
        ("kernel_shape = [3, 3]", 10, 6),
        ("kernel_shape = [5, 5], strides = [2, 2]", 4, 8),
        ("kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1", 12, 6),
        ("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", 12, None),
        ("kernel_shape = [6, 6], strides = [6, 6]", 2, None),
    ],
)
def test_an_average_keeps_what_its_range_allows(
    attributes: str, size: int, gain: float | None
) -> None:
    """Noise of zero mean: an average of n elements spans a sqrt(n)-th of them."""
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    g (float[1,4,12,12] x) => (float[1,4,{size},{size}] y)
    {{ y = AveragePool<{attributes}>(x) }}"""
    graph = optimize(ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(text)).model)
    quantized = quantize(graph, SAMPLES, QuantizeOptions(effort=0))
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    expected = first_outputs_onnx(graph, SAMPLES)
    file = lower(variant.tflite, finish=variant.finish).data
    by_tflite = np.moveaxis(first_outputs_tflite(file, SAMPLES), -1, 2)
    got = min(
        sqnr_db(expected, each) for each in (first_outputs_onnx(variant.onnx, SAMPLES), by_tflite)
    )

    step = (max(x.max() for (x,) in SAMPLES) - min(x.min() for (x,) in SAMPLES)) / 255
    shared = sqnr_db(expected, np.rint(expected / step) * step)
    if gain is None:
        assert got > shared - 3
    else:
        assert got > shared + gain
        names = [detail["op_name"] for detail in tflite_interpreter(file)._get_ops_details()]
        assert names.count("QUANTIZE") == 1, names  # that of the input: none behind the average
    assert variant.checked is not None
    exact = run_exactly(variant.checked, SAMPLES)
    for format in Format:
        checked = check_operators(format, variant.checked, SAMPLES, exact.integers)
        assert not checked.failed, (format, checked)


def test_a_dilated_average_is_in_float_as_onnx_runtime_has_no_other() -> None:
    weights = ",".join(f"{x:.4f}" for x in np.random.default_rng(0).standard_normal(16))
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    g (float[1,4,12,12] x) => (float[1,4,10,10] y) <float[4,4,1,1] w = {{{weights}}}> {{
        a = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x)
        y = Conv(a, w)
    }}"""
    graph = optimize(ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(text)).model)
    quantized = quantize(graph, SAMPLES, QuantizeOptions(effort=0))
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    assert any("AveragePool" in line for line in variant.float_fallback)
    expected = first_outputs_onnx(graph, SAMPLES)
    file = lower(variant.tflite, finish=variant.finish).data
    by_tflite = np.moveaxis(first_outputs_tflite(file, SAMPLES), -1, 2)
    for got in (first_outputs_onnx(variant.onnx, SAMPLES), by_tflite):
        assert sqnr_db(expected, got) > 30
