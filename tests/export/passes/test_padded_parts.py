"""Sums of Pads that are zero at the place of each other: Concats of the same values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.joined import joined_outputs
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.lowering import Net, as_model
from support.runtimes import run_onnx, run_tflite

SHAPES = ((2, 4, 3), (2, 1, 3), (2, 2, 3))


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def padded(net: Net, x: str, before: int, after: int) -> str:
    return str(net.op("Pad", x, net.constant(np.int64([0, before, 0, 0, after, 0]))))


@pytest.mark.parametrize(
    ("starts", "joins"),
    [
        ((0, 4, 5), True),
        ((3, 0, 1), True),
        ((0, 5, 6), True),
        ((2, 0, 7), True),
        ((0, 3, 5), False),
        ((1, 0, 4), False),
    ],
    ids=str,
)
@pytest.mark.parametrize("operator", ["Add", "Sum"])
def test_pads_side_by_side_are_a_concat(
    starts: tuple[int, ...], joins: bool, operator: str
) -> None:
    net = Net()
    inputs = [net.input(f"x{i}", shape) for i, shape in enumerate(SHAPES)]
    parts = [
        padded(net, x, start, 9 - start - shape[1])
        for x, start, shape in zip(inputs, starts, SHAPES, strict=True)
    ]
    if operator == "Sum":
        net.output(net.op("Sum", *parts))
    else:
        net.output(net.op("Add", net.op("Add", parts[0], parts[1]), parts[2]))
    before, rng = as_model(net.proto()), np.random.default_rng(0)
    feed = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    (expected,) = run_onnx(ir.to_proto(before), feed).values()
    after = optimize(before)
    assert (not {"Add", "Sum"} & set(operators(after))) == joins
    (got,) = run_onnx(ir.to_proto(after), feed).values()
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("case", ["ones", "reflected", "two axes", "divisor"])
def test_other_sums_stay(case: str) -> None:
    net = Net()
    a, b = net.input("a", (2, 4, 4)), net.input("b", (2, 4, 4))
    ends = [net.constant(np.int64([0, 4 * i, 0, 0, 4 * (1 - i), 0])) for i in (0, 1)]
    if case == "ones":
        one = net.constant(np.float32(1))
        y = net.op("Add", *(net.op("Pad", x, e, one) for x, e in zip((a, b), ends, strict=True)))
    elif case == "reflected":
        ends = [net.constant(np.int64([0, 3 * i, 0, 0, 3 * (1 - i), 0])) for i in (0, 1)]
        parts = [net.op("Pad", x, e, mode="reflect") for x, e in zip((a, b), ends, strict=True)]
        y = net.op("Add", *parts)
    elif case == "two axes":
        ends = [net.constant(np.int64([0, 0, 4 * i, 0, 4, 4 * (1 - i)])) for i in (0, 1)]
        y = net.op("Add", *(net.op("Pad", x, e) for x, e in zip((a, b), ends, strict=True)))
    else:
        y = net.op(
            "Reciprocal",
            net.op("Add", *(net.op("Pad", x, e) for x, e in zip((a, b), ends, strict=True))),
        )
    assert "Add" in operators(optimize(as_model(net.output(y).proto())))


def test_boxes_and_scores_that_are_padded_keep_their_scales() -> None:
    net = Net()
    x = net.input("x", (1, 8, 6))
    weights = [np.random.default_rng(i).normal(0, 0.4, (6, 6)).astype(np.float32) for i in (1, 2)]
    boxes, scores = (net.op("Sigmoid", net.op("MatMul", x, net.constant(w))) for w in weights)
    boxes = net.op("Mul", boxes, net.constant(np.float32(600)))
    scores = net.op("Mul", scores, net.constant(np.float32(0.1)))
    net.output(net.op("Add", padded(net, boxes, 0, 8), padded(net, scores, 8, 0)))
    graph = optimize(as_model(net.proto()))
    (parts,) = joined_outputs(graph.graph, 20)
    assert parts is not None
    assert len(parts.names) == 2
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((1, 8, 6)).astype(np.float32) for _ in range(4)]
    model = quantize(graph, [[x] for x in data], QuantizeOptions(effort=0)).model
    file = lower(model).data
    for x in data[:2]:
        (expected,) = run_onnx(ir.to_proto(graph), [x]).values()
        for got in (run_onnx(ir.to_proto(model), [x]), run_tflite(file, [x])):
            (computed,) = got.values()
            # As a sum every score was zero, 0 dB.
            assert sqnr_db(expected[:, 8:], computed[:, 8:]) > 30
