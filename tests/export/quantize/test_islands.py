"""Operators between float ones, which integers would only round."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Array, Net, as_model
from support.runtimes import run_onnx, run_tflite

TOKENS = 128
OPTIONS = QuantizeOptions(range_method=RangeMethod.MINMAX, equalization=False)


def weight(seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 0.4, (8, 8)).astype(np.float32)


def batches() -> list[Batch]:
    rng = np.random.default_rng(1)
    return [[rng.standard_normal((1, TOKENS, 8)).astype(np.float32)] for _ in range(4)]


def test_a_flat_softmax_between_float_products_is_not_rounded() -> None:
    net = Net()
    x = net.input("x", (1, TOKENS, 8))
    query, key, value = (net.op("MatMul", x, net.constant(weight(seed))) for seed in (1, 2, 3))
    scores = net.op("MatMul", query, net.op("Transpose", key, perm=[0, 2, 1]))
    small = net.op("Mul", scores, net.constant(np.float32(0.02)))
    y = net.op("MatMul", net.op("Softmax", small, axis=-1), value)
    model = as_model(net.output(net.op("MatMul", y, net.constant(weight(4)))).proto())
    quantized = quantize(model, batches(), OPTIONS)
    kept = [line for line in quantized.float_fallback if "integers would only round it" in line]
    assert [line.partition(" (")[2].partition(")")[0] for line in kept] == ["Mul", "Softmax"]
    batch = batches()[0]
    (expected,) = run_onnx(ir.to_proto(model), batch).values()
    for got in (
        *run_onnx(ir.to_proto(quantized.model), batch, fused=True).values(),
        *run_tflite(lower(quantized.model).data, batch).values(),
    ):
        # A probability of 1/128 is two of the steps that int8 has: 14 dB.
        assert sqnr_db(expected, got) > 28


def test_what_an_input_an_output_or_a_layer_touches_is_no_island() -> None:
    net = Net()
    x = net.input("x", (1, TOKENS, 8))
    y = net.op("MatMul", net.op("Sin", net.op("Neg", x)), net.constant(weight(1)))
    other = net.op("MatMul", x, net.constant(weight(2)))
    net.output(net.op("Abs", net.op("Sin", y)), other)
    quantized = quantize(as_model(net.proto()), batches(), OPTIONS)
    assert all("(Sin)" in line for line in quantized.float_fallback)


def test_a_softmax_over_more_elements_than_int8_has_steps_stays_in_float() -> None:
    """Keys that share 1 among 1024 tokens were all zero in int8."""
    tokens = 1024
    net = Net()
    x = net.input("x", (1, tokens, 8))
    key, value = (net.op("MatMul", x, net.constant(weight(seed))) for seed in (1, 2))
    shares = net.op("Transpose", net.op("Softmax", key, axis=1), perm=[0, 2, 1])
    model = as_model(net.output(net.op("MatMul", shares, value)).proto())
    data = [np.random.default_rng(1).standard_normal((1, tokens, 8)).astype(np.float32)]
    quantized = quantize(model, [data], OPTIONS)
    assert any("(Softmax)" in line for line in quantized.float_fallback)
    (expected,) = run_onnx(ir.to_proto(model), data).values()
    for got in (
        *run_onnx(ir.to_proto(quantized.model), data, fused=True).values(),
        *run_tflite(lower(quantized.model).data, data).values(),
    ):
        assert sqnr_db(expected, got) > 20  # both products read inputs of 8 bits
