"""What constants alone decide is not rounded on the way to what reads it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.known_nodes import known_nodes
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model
from support.runtimes import run_onnx, run_tflite

OPTIONS = QuantizeOptions(effort=0)
SIZE = 16


def with_table() -> ir.Model:
    """A product and the table that is added to it, which three layers compute from points."""
    rng = np.random.default_rng(0)

    def weight(rows: int, columns: int) -> str:
        return net.constant(rng.normal(0, 1, (rows, columns)).astype(np.float32))

    net = Net()
    table = weight(SIZE, 2)
    for width in (2, 64, 64):
        table = net.op("Relu", net.op("MatMul", table, weight(width, 64)))
    scores = net.op("MatMul", net.input("x", (1, SIZE, 8)), weight(8, 64))
    y = net.op("MatMul", net.op("Add", scores, table), weight(64, 8))
    return as_model(net.output(y).proto())


def test_layers_on_constants_stay_in_float_and_what_reads_them_does_not() -> None:
    model = with_table()
    batch = [np.random.default_rng(1).normal(size=(1, SIZE, 8)).astype(np.float32)]
    quantized = quantize(model, [batch], OPTIONS)
    known = {str(node.name) for node in known_nodes(model.graph)}
    assert len(known) == 6
    assert quantized.in_float == known
    expected = next(iter(run_onnx(ir.to_proto(model), batch).values()))
    for got in (
        next(iter(run_onnx(ir.to_proto(quantized.model), batch, fused=True).values())),
        next(iter(run_tflite(lower(quantized.model).data, batch).values())),
    ):
        np.testing.assert_allclose(got, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ("a = Relu(c) y = Add(x, a)", ["Relu"]),
        ("s = Shape(x) f = Cast<to = 1>(s) y = Add(x, f)", ["Shape", "Cast"]),
        ("r = RandomNormalLike(c) y = Add(x, r)", []),
        ("r = RandomNormal<shape = [1]>() y = Add(x, r)", []),
        ("y = Add(x, c)", []),
    ],
)
def test_what_is_known(body: str, known: list[str]) -> None:
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]>\n'
        f"g (float[1] x) => (float[1] y) <float[1] c = {{1.5}}> {{ {body} }}"
    )
    assert [node.op_type for node in model.graph if node in known_nodes(model.graph)] == known
