"""Layers of an int8 file with weights in float16."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import IoType, Precision
from edgeconv.errors import DataError
from edgeconv.export.layer_rules import LayerPrecision, LayerRule
from edgeconv.export.precision.variant import Variant, make_variant
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Net, as_model, smooth
from support.precision import constants, first_outputs_onnx, first_outputs_tflite

MAP = (1, 8, 6, 6)
BATCHES = [[smooth(MAP, seed)] for seed in range(4)]
SAMPLES = [tuple(batch) for batch in BATCHES]


def network(largest: float = 1.0) -> ir.Model:
    """Two convolutions of 576 weights each, of which the second is left out of int8."""
    net, rng = Net(), np.random.default_rng(0)
    first, second = (rng.normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32) for _ in range(2))
    second[0, 0, 0, 0] = largest
    y = net.op("Relu", net.op("Conv", net.input("x", MAP), net.constant(first)))
    return as_model(net.output(net.op("Conv", y, net.constant(second))).proto())


def variant(model: ir.Model, precision: LayerPrecision) -> Variant:
    rule = LayerRule(name="n2", precision=precision)
    options = replace(QuantizeOptions(effort=0), layers=(rule,))
    quantized = quantize(model, BATCHES, options)
    return make_variant(Precision.INT8, model, quantized, IoType.FLOAT32)


def test_both_formats_store_the_same_rounded_weights() -> None:
    model = network()
    made = variant(model, LayerPrecision.FLOAT16)
    (stored,) = (
        value.const_value.numpy()
        for value in made.onnx.graph.initializers.values()
        if value.dtype == ir.DataType.FLOAT16
    )
    data = lower(made.tflite, finish=made.finish).data
    (written,) = (array for array, _ in constants(data) if array.dtype == np.float16)
    np.testing.assert_array_equal(np.sort(stored.reshape(-1)), np.sort(written.reshape(-1)))
    by_onnx = first_outputs_onnx(made.onnx, SAMPLES)
    by_tflite = np.moveaxis(first_outputs_tflite(data, SAMPLES), -1, 2)
    assert sqnr_db(by_onnx, by_tflite) > 60  # sums in another order
    assert sqnr_db(first_outputs_onnx(model, SAMPLES), by_onnx) > 30  # the first layer is in int8
    whole = variant(model, LayerPrecision.FLOAT32)
    in_full = lower(whole.tflite, finish=whole.finish).data
    assert len(data) < len(in_full) - 576


def test_a_weight_beyond_float16_is_refused() -> None:
    with pytest.raises(DataError, match="beyond the largest float16"):
        variant(network(1e5), LayerPrecision.FLOAT16)
