"""Which parts of a Concat share its scale, and what becomes of one at the end of a network.

A Softmax there has the same remedy: it is an output in float.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import IoType, Layout
from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize import (
    QuantizedModel,
    QuantizeOptions,
    RangeMethod,
    apply_io,
    quantize,
)
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize.plan import Part
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Array, Net, as_model, smooth
from support.runtimes import run_onnx, run_tflite

MAP = (1, 4, 6, 6)
OPTIONS = QuantizeOptions(range_method=RangeMethod.MINMAX, equalization=False)


def weight(outputs: int, gain: float, seed: int = 0) -> Array:
    drawn = np.random.default_rng(seed).normal(0, 0.5 * gain, (outputs, 4, 1, 1))
    return drawn.astype(np.float32)


def batches() -> list[Batch]:
    return [[smooth(MAP, seed)] for seed in range(6)]


def detector(ratio: float) -> ir.Model:
    """Boxes that are ``ratio`` times as large as the scores, in one output, [1, 36, 6]."""
    net = Net()
    x = net.input("x", MAP)
    boxes = net.op("Conv", x, net.constant(weight(2, ratio)))
    scores = net.op("Sigmoid", net.op("Conv", x, net.constant(weight(4, 1.0, 1))))
    joined = net.op("Reshape", net.op("Concat", boxes, scores, axis=1), net.constant([1, 6, 36]))
    return as_model(net.output(net.op("Transpose", joined, perm=[0, 2, 1])).proto())


def run_both(quantized: QuantizedModel, batch: Batch) -> Iterator[Array]:
    yield from run_onnx(ir.to_proto(quantized.model), batch, fused=True).values()
    yield from run_tflite(lower(quantized.model, layout=Layout.NCHW).data, batch).values()


@pytest.mark.parametrize("ratio", [1.0, 300.0])
def test_each_part_of_an_output_keeps_its_steps(ratio: float) -> None:
    model = detector(ratio)
    quantized = quantize(model, batches(), OPTIONS)
    batch = batches()[0]
    (expected,) = run_onnx(ir.to_proto(model), batch).values()
    for got in run_both(quantized, batch):
        # 40 dB is what two roundings to 8 bits leave of a smooth map.
        assert sqnr_db(expected[..., :2], got[..., :2]) > 35
        assert sqnr_db(expected[..., 2:], got[..., 2:]) > 35


def test_an_integer_output_has_one_scale() -> None:
    quantized = quantize(detector(300.0), batches(), replace(OPTIONS, integer_outputs=True))
    assert not quantized.float_fallback
    with_io = apply_io(quantized.model, IoType.INT8)
    assert with_io.graph.outputs[0].dtype is ir.DataType.INT8
    assert not lower(with_io).float_fallback


def inner(ratio: float, *, read: bool) -> ir.Model:
    """A Concat in the middle of a network, whose first part a convolution may read too."""
    net = Net()
    x = net.input("x", MAP)
    small = net.op("Conv", x, net.constant(weight(4, 1.0)))
    large = net.op("Conv", x, net.constant(weight(4, ratio, 1)))
    joined = net.op("Concat", small, large, axis=1)
    drawn = np.random.default_rng(2).normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32)
    net.output(net.op("Conv", joined, net.constant(drawn)))
    if read:
        net.output(net.op("Conv", small, net.constant(weight(3, 1.0, 3))))
    return as_model(net.proto())


def scales(quantized: QuantizedModel) -> list[float]:
    """The scales of the two parts and of the Concat."""
    (concat,) = (node for node in quantized.model.graph if node.op_type == "Concat")
    values = [
        *(value.producer() for value in concat.inputs if value),
        concat.outputs[0].consumers()[0],
    ]
    return [float(node.inputs[1].const_value.numpy()) for node in values if node]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("ratio", "read", "shared"), [(2.0, True, True), (50.0, True, False), (50.0, False, True)]
)
def test_a_part_shares_the_scale_unless_another_reader_would_lose(
    ratio: float, read: bool, shared: bool
) -> None:
    model = inner(ratio, read=read)
    quantized = quantize(model, batches(), OPTIONS)
    small, large, whole = scales(quantized)
    assert large == whole
    assert (small == whole) is shared
    batch = batches()[0]
    expected = list(run_onnx(ir.to_proto(model), batch).values())
    got = list(run_both(quantized, batch))
    for index, array in enumerate(got):
        assert sqnr_db(expected[index % len(expected)], array) > 30


def rounded(x: Array, span: float) -> Array:
    """Round to 255 steps of a range."""
    return np.round(x * (255 / span)).astype(np.float32) * np.float32(span / 255)


@pytest.mark.parametrize("ratio", [1.05, 1.3, 1.6, 3.0])
@pytest.mark.parametrize("others", [1, 2, 4])
def test_a_part_is_where_the_noise_of_all_readers_is_least(others: int, ratio: float) -> None:
    x = np.random.default_rng(0).uniform(0, 1, 100_000).astype(np.float32)

    def noise(read: Array) -> float:
        return float(((read - x) ** 2).mean())

    joined = (others + 1) * noise(rounded(x, ratio))
    apart = others * noise(rounded(x, 1.0)) + noise(rounded(rounded(x, 1.0), ratio))
    part = Part(ir.Value(name="x"), others)
    assert part.joins(Range(0.0, 1.0), Range(0.0, ratio)) is (joined < apart)


def stream(blocks: int) -> ir.Model:
    """Residual blocks that convolve half of the channels, join both halves, and add the input.

    The joined halves span more than twice the range of what runs through the network, which the
    Slices, the convolutions and the Add of each block read.
    """
    net = Net()
    x = net.input("x", (1, 8, 6, 6))
    generator = np.random.default_rng(5)
    for _ in range(blocks):
        halves = [
            net.op("Slice", x, *(net.constant([number]) for number in (first, last, 1)))
            for first, last in ((0, 4), (4, 8))
        ]
        wide = generator.normal(0, 1.2, (4, 4, 1, 1)).astype(np.float32)
        joined = net.op("Concat", halves[0], net.op("Conv", halves[1], net.constant(wide)), axis=1)
        back = generator.normal(0, 0.03, (8, 8, 1, 1)).astype(np.float32)
        x = net.op("Add", x, net.op("Conv", joined, net.constant(back)))
    return as_model(net.output(x).proto())


def test_a_stream_keeps_its_steps_beside_wider_concats() -> None:
    model = stream(blocks=8)
    data = [[smooth((1, 8, 6, 6), seed)] for seed in range(6)]
    quantized = quantize(model, data, OPTIONS)
    (expected,) = run_onnx(ir.to_proto(model), data[0]).values()
    for got in run_both(quantized, data[0]):
        # In steps of its own the stream keeps 33 dB, in those of the Concats, up to four times as
        # wide, 26.5 dB.
        assert sqnr_db(expected, got) > 31


def test_sigmoids_alone_keep_their_scale() -> None:
    net = Net()
    x = net.input("x", MAP)
    parts = [net.op("Sigmoid", net.op("Conv", x, net.constant(weight(4, 1.0, i)))) for i in (0, 1)]
    drawn = np.random.default_rng(2).normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32)
    net.output(net.op("Conv", net.op("Concat", *parts, axis=1), net.constant(drawn)))
    assert scales(quantize(as_model(net.proto()), batches(), OPTIONS)) == [1 / 256] * 3


def test_a_flat_softmax_at_the_end_keeps_its_probabilities() -> None:
    net = Net()
    x = net.op("Reshape", net.input("x", MAP), net.constant([1, 144]))
    drawn = np.random.default_rng(2).normal(0, 0.05, (144, 1000)).astype(np.float32)
    net.output(net.op("Softmax", net.op("MatMul", x, net.constant(drawn)), axis=1))
    model = as_model(net.proto())
    quantized = quantize(model, batches(), OPTIONS)
    batch = batches()[0]
    (expected,) = run_onnx(ir.to_proto(model), batch).values()
    for got in run_both(quantized, batch):
        # Every probability is about 1/1000, a quarter of a step of 1/256.
        assert sqnr_db(expected, got) > 35
    assert not quantize(model, batches(), replace(OPTIONS, integer_outputs=True)).float_fallback


@pytest.mark.parametrize(("gain", "shared"), [(1.2, True), (20.0, False)])
def test_a_part_of_two_concats_keeps_the_scale_of_the_narrow_one(gain: float, shared: bool) -> None:
    """A graph network joins nodes with each other, and later with sums of far larger messages."""
    net = Net()
    x = net.input("x", MAP)
    drawn = np.random.default_rng(2).normal(0, 0.3, (4, 8, 1, 1)).astype(np.float32)
    flipped = net.op("Transpose", x, perm=[0, 1, 3, 2])
    messages = net.op("Conv", net.op("Concat", x, flipped, axis=1), net.constant(drawn))
    large = net.op("Conv", net.input("z", MAP), net.constant(weight(4, gain, 1)))
    net.output(messages, net.op("Conv", net.op("Concat", x, large, axis=1), net.constant(drawn)))
    both = [[*batch, *other] for batch, other in zip(batches(), batches()[::-1], strict=True)]
    quantized = quantize(as_model(net.proto()), both, OPTIONS)
    narrow, wide = (
        node.outputs[0].consumers()[0] for node in quantized.model.graph if node.op_type == "Concat"
    )
    scales = [float(node.inputs[1].const_value.numpy()) for node in (narrow, wide)]  # type: ignore[union-attr]
    assert (scales[0] == scales[1]) is shared
    expected = list(run_onnx(ir.to_proto(as_model(net.proto())), both[0]).values())
    for index, got in enumerate(run_both(quantized, both[0])):
        assert sqnr_db(expected[index % 2], got) > 30
