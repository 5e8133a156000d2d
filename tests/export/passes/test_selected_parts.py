"""Selections from a single part of a Concat."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.metrics import sqnr_db
from support.lowering import Net, as_model
from support.runtimes import run_onnx

WIDTH = 8


def joined(net: Net) -> str:
    parts = [net.input(name, (1, size, WIDTH)) for name, size in (("a", 1), ("b", 5), ("c", 3))]
    return str(net.op("Concat", *parts, axis=1))


def numbers(net: Net, *values: int) -> list[str]:
    return [net.constant(np.array([value], np.int64)) for value in values]


def same_outputs(net: Net) -> ir.Model:
    before = as_model(net.proto())
    rng = np.random.default_rng(0)
    inputs = [
        rng.standard_normal([int(size) for size in value.shape or ()]).astype(np.float32)
        for value in before.graph.inputs
    ]
    expected = run_onnx(ir.to_proto(before), inputs).values()
    model = optimize(before)
    for ours, theirs in zip(run_onnx(ir.to_proto(model), inputs).values(), expected, strict=True):
        assert np.array_equal(ours, theirs)
    return model


@pytest.mark.parametrize(
    ("start", "stop", "left"),
    [(0, 1, set()), (1, 6, set()), (2, 5, {"Slice"}), (-3, 99, set()), (-2, -1, {"Slice"})],
)
def test_a_slice_of_one_part_reads_that_part(start: int, stop: int, left: set[str]) -> None:
    net = Net()
    y = net.op("Slice", joined(net), *numbers(net, start, stop, 1))
    model = same_outputs(net.output(net.op("Neg", y)))
    assert {node.op_type for node in model.graph} == {"Neg"} | left


@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_gather_of_one_index_reads_its_part(index: int) -> None:
    net = Net()
    y = net.op("Gather", joined(net), net.constant(np.array(index, np.int64)), axis=1)
    model = same_outputs(net.output(y))
    assert {node.op_type for node in model.graph} == {"Gather"}


@pytest.mark.parametrize("places", [(0, 3, 1), (0, 1, 2), (0, 9, 1, 2)])
def test_what_no_single_part_has_reads_the_concat(places: tuple[int, ...]) -> None:
    net = Net()
    y = net.op("Slice", joined(net), *numbers(net, *places))
    assert "Concat" in {node.op_type for node in same_outputs(net.output(y)).graph}


def test_a_small_token_keeps_its_values_in_int8() -> None:
    net = Net()
    token, patches = net.input("token", (1, 1, WIDTH)), net.input("patches", (1, 9, WIDTH))
    y = net.op("Concat", net.op("Neg", token), net.op("Neg", patches), axis=1)
    taken = net.op("Slice", y, *numbers(net, 0, 1, 1))
    rest = net.op("Slice", y, *numbers(net, 1, 10, 1))
    net.output(net.op("Abs", taken), net.op("Abs", rest))
    model = optimize(as_model(net.proto()))
    rng = np.random.default_rng(1)
    batch = [
        0.01 * rng.standard_normal((1, 1, WIDTH)).astype(np.float32),
        rng.standard_normal((1, 9, WIDTH)).astype(np.float32),
    ]
    quantized = quantize(model, [batch], QuantizeOptions(effort=0))
    expected = next(iter(run_onnx(ir.to_proto(model), batch).values()))
    got = next(iter(run_onnx(ir.to_proto(quantized.model), batch, fused=True).values()))
    assert sqnr_db(expected, got) > 30  # in the scale of the patches it has 1 dB
