"""Residual streams that only operators in float read."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import IoType
from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.quantize.integer_io import apply_io
from edgeconv.export.quantize.minimum_cut import MinimumCut
from edgeconv.export.quantize.plan import plan
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Array, Net, as_model
from support.runtimes import run_onnx, run_tflite

TOKENS, WIDTH = 16, 8
OPTIONS = QuantizeOptions(effort=0)


def weight(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(0, 0.4, shape).astype(np.float32)


def normalized(net: Net, x: str) -> str:
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    return str(net.op("LayerNormalization", x, net.constant(ones), net.constant(zeros), axis=-1))


def product(net: Net, x: str, seed: int) -> str:
    return str(net.op("MatMul", x, net.constant(weight(seed, WIDTH, WIDTH))))


def transformer(patch_scale: float = 1.0) -> ir.Model:
    """A class token beside patch tokens, and three residual blocks that normalize them."""
    net = Net()
    patches = product(net, net.input("x", (1, TOKENS, WIDTH)), 1)
    scaled = net.op("Mul", patches, net.constant(np.full(WIDTH, patch_scale, np.float32)))
    x = net.op("Concat", net.constant(weight(2, 1, 1, WIDTH)), scaled, axis=1)
    for seed in (3, 4, 5):
        x = net.op("Add", x, product(net, normalized(net, x), seed))
    one = [net.constant(np.array([n], np.int64)) for n in (0, 1, 1)]
    token = net.op("Slice", x, *one)
    return as_model(net.output(product(net, normalized(net, token), 6)).proto())


def batches() -> list[Batch]:
    rng = np.random.default_rng(1)
    return [[rng.standard_normal((1, TOKENS, WIDTH)).astype(np.float32)] for _ in range(4)]


def in_float(quantized: QuantizedModel) -> list[str]:
    """The operators in float that have an integer form."""
    lines = [line.partition(" (")[2] for line in quantized.float_fallback]
    return [line.partition(")")[0] for line in lines if "read or write it" in line]


def test_a_stream_that_only_layer_norms_read_is_in_float() -> None:
    quantized = quantize(transformer(), batches(), OPTIONS)
    assert in_float(quantized).count("Add") == 3
    assert "MatMul" not in " ".join(quantized.float_fallback)


@pytest.mark.parametrize("patch_scale", [1.0, 100.0])
def test_a_class_token_keeps_its_values_beside_large_patches(patch_scale: float) -> None:
    model = transformer(patch_scale)
    quantized = quantize(model, batches(), OPTIONS)
    expected, onnx, tflite = [], [], []
    for batch in batches():
        expected.append(next(iter(run_onnx(ir.to_proto(model), batch).values())))
        onnx.append(next(iter(run_onnx(ir.to_proto(quantized.model), batch, fused=True).values())))
        tflite.append(next(iter(run_tflite(lower(quantized.model).data, batch).values())))
    # In the scale of patches a hundred times as large the token had 2 dB.
    for got in (onnx, tflite):
        assert sqnr_db(np.stack(expected), np.stack(got)) > 28


def test_a_stream_that_layers_read_stays_in_integers() -> None:
    """As in a convolutional network: in float each sum would be converted there and back."""
    net = Net()
    x = net.input("x", (1, TOKENS, WIDTH))
    for seed in (1, 2, 3):
        branch = product(net, normalized(net, product(net, x, seed)), seed + 3)
        x = net.op("Add", x, branch)
    net.output(product(net, x, 7))
    assert in_float(quantize(as_model(net.proto()), batches(), OPTIONS)) == []


def test_moves_in_front_of_operators_in_float_move_bytes() -> None:
    """Queries, keys and values that are cut out of one result."""
    net = Net()
    x = product(net, net.input("x", (1, TOKENS, WIDTH)), 1)
    ends = [net.constant(np.array([n], np.int64)) for n in (0, 4, 8, -1)]
    halves = [net.op("Slice", x, ends[i], ends[i + 1], ends[3]) for i in (0, 1)]
    scores = net.op("MatMul", halves[0], net.op("Transpose", halves[1], perm=[0, 2, 1]))
    net.output(product_of_scores(net, scores))
    quantized = quantize(as_model(net.proto()), batches(), OPTIONS)
    assert in_float(quantized) == []


def test_a_softmax_that_a_product_in_float_reads_is_in_float() -> None:
    """Keys that share 1 among all tokens, for linear attention: in 1/256 they have 20 dB."""
    net = Net()
    x = net.input("x", (1, 10 * TOKENS, WIDTH))
    shares = net.op("Softmax", product(net, x, 1), axis=1)
    y = net.op("MatMul", net.op("Transpose", shares, perm=[0, 2, 1]), product(net, x, 2))
    net.output(product(net, y, 3))
    data = np.random.default_rng(1).standard_normal((1, 10 * TOKENS, WIDTH)).astype(np.float32)
    assert "Softmax" in in_float(quantize(as_model(net.proto()), [[data]], OPTIONS))


def test_a_stream_stays_as_it_is_beside_what_is_kept_in_float() -> None:
    """Repair keeps neighborhoods in float, with the ranges that were found before."""
    model = transformer()

    def left(keep_float: frozenset[str]) -> set[str | None]:
        decided = plan(model.graph, QuantizeOptions(effort=0, keep_float=keep_float))
        return {node.name for node in decided.float_fallback} - keep_float

    streams = left(frozenset())
    for node in model.graph:
        kept = frozenset({str(node.name)})
        assert left(kept) == streams - kept


def product_of_scores(net: Net, scores: str) -> str:
    return str(net.op("MatMul", scores, net.constant(weight(7, TOKENS, WIDTH))))


def test_post_norm_streams_are_in_float() -> None:
    """What a layer norm writes is added in float, and each layer reads it in integers."""
    net = Net()
    x = product(net, net.input("x", (1, TOKENS, WIDTH)), 1)
    for seed in (2, 3):
        x = net.op("Add", normalized(net, product(net, x, seed)), x)
    net.output(product(net, normalized(net, x), 4))
    quantized = quantize(as_model(net.proto()), batches(), OPTIONS)
    assert in_float(quantized) == ["Add", "Add"]


def test_a_cut_costs_least_and_ties_go_to_the_source() -> None:
    cut = MinimumCut()
    for start, end, cost in (("source", "a", 5), ("a", "b", 2), ("b", "c", 3), ("c", "target", 2)):
        cut.add(start, end, cost)
    cut.add("b", "target", 1)
    # Between a and b it costs 2, behind b 1 + 2, and around d 4 on either side.
    cut.add("source", "d", 4)
    cut.add("d", "target", 4)
    assert cut.target_side() == {"b", "c", "target"}


def test_readers_in_float_see_what_is_computed_in_float_unrounded() -> None:
    """As in CoaT: a layer reads the patches in integers, which leave no step for the token."""
    net = Net()
    patches = net.op("Mul", net.input("x", (1, TOKENS, WIDTH)), net.constant(np.float32(1000)))
    x = net.op("Concat", net.constant(weight(2, 1, 1, WIDTH)), patches, axis=1)
    x = net.op("Add", x, product(net, normalized(net, x), 3))
    zero, one, end = (net.constant(np.array([n], np.int64)) for n in (0, 1, TOKENS + 1))
    token = normalized(net, net.op("Slice", x, zero, one, one))
    layer = product(net, net.op("Slice", x, one, end, one), 4)
    model = as_model(net.output(token, normalized(net, layer)).proto())
    quantized = quantize(model, batches(), OPTIONS)
    batch = batches()[0]
    expected = next(iter(run_onnx(ir.to_proto(model), batch).values()))
    onnx = next(iter(run_onnx(ir.to_proto(quantized.model), batch, fused=True).values()))
    tflite = next(iter(run_tflite(lower(quantized.model).data, batch).values()))
    # In the scale of the patches the token was zero, and had 0 dB.
    for got in (onnx, tflite):
        assert sqnr_db(expected, got) > 28


@pytest.mark.parametrize("reads_integers", [False, True])
def test_what_moves_an_input_to_float_is_in_float(reads_integers: bool) -> None:
    """A recurrent cell reads the transposed input: to round it would cost and gain nothing."""
    net = Net()
    x = net.input("x", (1, TOKENS, WIDTH))
    moved = net.op(
        "Transpose", net.op("Reshape", x, net.constant(np.array([4, 4, 8]))), perm=[1, 0, 2]
    )
    y = product(net, normalized(net, moved), 1)
    outputs = [y, product(net, x, 2)] if reads_integers else [y]
    quantized = quantize(as_model(net.output(*outputs).proto()), batches(), OPTIONS)
    assert ("Transpose" in in_float(quantized)) != reads_integers


@pytest.mark.parametrize("integers", [False, True])
def test_a_spectrum_keeps_its_small_values_in_front_of_a_logarithm(integers: bool) -> None:
    """Its values span decades: with 256 steps between Clip and Log most of them are one value."""
    net = Net()
    x = net.input("x", (1, TOKENS, WIDTH))
    y = net.op("Log", net.op("Clip", x, net.constant(np.float32(1e-6))))
    outputs = [product(net, y, 1), product(net, x, 2)] if integers else [product(net, y, 1)]
    model = as_model(net.output(*outputs).proto())
    rng = np.random.default_rng(2)
    spectra = [np.exp(rng.normal(0, 3, (1, TOKENS, WIDTH))).astype(np.float32) for _ in range(4)]
    quantized = quantize(model, [[spectrum] for spectrum in spectra], OPTIONS)
    assert ("Clip" in in_float(quantized)) != integers
    if integers:
        return
    expected = np.stack([next(iter(run_onnx(ir.to_proto(model), [x]).values())) for x in spectra])
    proto, file = ir.to_proto(quantized.model), lower(quantized.model).data
    onnx = [next(iter(run_onnx(proto, [x], fused=True).values())) for x in spectra]
    tflite = [next(iter(run_tflite(file, [x]).values())) for x in spectra]
    # With the spectrum in 8 bits it was below 0 dB.
    for got in (onnx, tflite):
        assert sqnr_db(expected, np.stack(got)) > 30


@pytest.mark.parametrize("operator", ["Clip", "Transpose"])
def test_an_input_of_integers_is_read_in_integers(operator: str) -> None:
    """With ``--io int8``, also in front of operators in float."""
    net = Net()
    x = net.input("x", (1, TOKENS, WIDTH))
    if operator == "Clip":
        y = net.op("Sin", net.op("Clip", x, net.constant(np.float32(1e-6))))
    else:
        y = normalized(net, net.op("Transpose", x, perm=[0, 1, 2]))
    model = as_model(net.output(product(net, y, 1)).proto())
    quantized = quantize(model, batches(), QuantizeOptions(effort=0, integer_outputs=True))
    files = apply_io(quantized.model, IoType.INT8)
    assert files.graph.inputs[0].dtype == ir.DataType.INT8


@pytest.mark.parametrize("operator", ["ScatterND", "ScatterElements"])
def test_sums_of_scattered_values_are_in_float(operator: str) -> None:
    """Sums of eight values have eight times their range, of which one scale would leave 5 bits."""
    net = Net()
    x = product(net, net.input("x", (1, TOKENS, WIDTH)), 1)
    rows = np.zeros((1, TOKENS, 1 if operator == "ScatterND" else WIDTH), np.int64)
    zeros = net.constant(np.zeros((1, TOKENS, WIDTH), np.float32))
    if operator == "ScatterND":
        rows = np.concatenate([rows, rows], -1)
        y = net.op(operator, zeros, net.constant(rows), x, reduction="add")
    else:
        y = net.op(operator, zeros, net.constant(rows), x, axis=1, reduction="add")
    quantized = quantize(as_model(net.output(product(net, y, 2)).proto()), batches(), OPTIONS)
    assert any(operator in line for line in quantized.float_fallback)
