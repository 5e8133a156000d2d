"""Which nodes have an integer form, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import onnx_ir as ir

from edgeconv.export.graph_edit import clamp_bounds
from edgeconv.export.quantize.operators import (
    OPERATORS,
    Kind,
    QuantizedOperator,
    without_integer_pool,
)

LOOKUPS = {"Gather", "GatherElements", "GatherND"}
# ONNX Runtime packs several matrices anew in each inference, which costs more in int8. From so many
# rows on that is 4 % at the most, on a Cortex-A72 (benchmarks/results/batched_products.md).
_FEWEST_ROWS = 32
_TWO_ACTIVATIONS = "it multiplies two activations, and int8 products take a constant weight"
TABLE = "it looks up rows of a table"
_CONSTANTS = "it reads constants only, at places that the network computes"


def data_inputs(node: ir.Node, operator: QuantizedOperator) -> Iterator[ir.Value]:
    """Yield the inputs of ``node`` that are activations, or constants in the place of one."""
    places = operator.data_inputs
    inputs = node.inputs
    for value in [inputs[i] for i in places] if isinstance(places, tuple) else inputs[:places]:
        if value is not None:
            yield value


def asymmetric_bounds(node: ir.Node) -> tuple[float, float] | None:
    """The bounds of a Clip at which no int16 range ends; None for any other node.

    Integers drop a Clip whose bounds are the ends of their range. Those of int16 end at the same
    distance on both sides of zero.
    """
    bounds = clamp_bounds(node)
    if bounds is None or not any(map(isfinite, bounds)):
        return None
    low, high = bounds
    return bounds if low < 0 and low != -high else None


def why_not_int16(node: ir.Node) -> str | None:
    """What keeps a node that int8 covers from int16; None if nothing does."""
    operator = OPERATORS.get(node.op_type)
    if operator is not None and operator.fixed is not None:
        return "it has a fixed scale in int8, and int16 has none for it"
    if (bounds := asymmetric_bounds(node)) is not None:
        return f"int16 has no asymmetric bounds such as {bounds[0]:g} and {bounds[1]:g}"
    return None


def is_constant(value: ir.Value) -> bool:
    """Whether ``value`` is an initializer."""
    return value.const_value is not None


def is_accumulator(value: ir.Value) -> bool:
    """Whether ``value`` exists only inside a fused operator.

    It is then the result of a convolution, matrix product or sum, and only a Relu or Clip reads it.
    """
    producer = value.producer()
    if producer is None or value.is_graph_output():
        return False
    operator = OPERATORS.get(producer.op_type)
    if operator is None or operator.kind not in (Kind.WEIGHTED, Kind.FREE):
        return False
    consumers = value.consumers()
    if len(consumers) != 1 or next(iter(value.uses())).idx != 0:
        return False
    clamp = OPERATORS.get(consumers[0].op_type)
    if clamp is None or clamp.kind is not Kind.CLAMP:
        return False
    # Last, because it takes longest.
    return not reason_for_float(producer, operator) and not reason_for_float(consumers[0], clamp)


def fused_output(value: ir.Value) -> ir.Value:
    """The result of the fused operator that computes ``value``."""
    while is_accumulator(value):
        value = value.consumers()[0].outputs[0]
    return value


def reason_for_float(node: ir.Node, operator: QuantizedOperator | None) -> str:
    """Why ``node`` cannot run in integers; empty if it can."""
    if operator is None and node.op_type == "Attention":
        return _TWO_ACTIVATIONS  # written out as of older opsets, both of its products are in float
    if operator is None:
        return "int8 is not implemented for this operator"
    if node.outputs[0].dtype != ir.DataType.FLOAT:
        return f"it computes {node.outputs[0].dtype}, not float32"
    shape = node.outputs[0].shape
    if shape is not None and not shape.is_static():
        return "how many elements it computes depends on the data"
    parameters = node.inputs[1:] if operator.kind is Kind.WEIGHTED else ()
    if any(value is not None and not is_constant(value) for value in parameters):
        return _reason_of_computed_weights(node)
    if operator.kind is Kind.CLAMP and any(
        value is not None and not is_constant(value) for value in node.inputs[1:]
    ):
        return "its bounds are not constant"
    if all(is_constant(value) for value in data_inputs(node, operator)):
        return TABLE if node.op_type in LOOKUPS else _CONSTANTS
    if node.op_type == "Gemm":
        return _reason_against_gemm(node)
    if node.op_type == "AveragePool":
        return without_integer_pool(node)
    if node.op_type in ("ScatterElements", "ScatterND"):
        reduction = node.attributes.get_string("reduction", "none")
        return "its sums or products have another range" if reduction in ("add", "mul") else ""
    return _reason_against_matmul(node) if node.op_type == "MatMul" else ""


def _reason_of_computed_weights(node: ir.Node) -> str:
    second = node.inputs[1]
    if node.op_type in ("MatMul", "Gemm") and second is not None and not is_constant(second):
        return _TWO_ACTIVATIONS
    return "its weight or bias is computed by the network"


def _reason_against_matmul(node: ir.Node) -> str:
    x, weight = node.inputs
    assert x is not None
    assert weight is not None
    if weight.shape is None or len(weight.shape) < 2:
        return "its second operand is a vector"
    rows = 1 if x.shape is None or len(x.shape) < 2 else x.shape.numpy()[-2]
    if len(weight.shape) > 2 and rows < _FEWEST_ROWS:
        return f"ONNX Runtime multiplies fewer than {_FEWEST_ROWS} rows faster with float matrices"
    return ""


def _reason_against_gemm(node: ir.Node) -> str:
    attributes = node.attributes
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        return "alpha and beta other than 1 are not implemented in int8"
    if attributes.get_int("transA", 0):
        return "transA is not implemented in int8"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and (bias.shape is None or len(bias.shape) != 1):
        return "its bias is not a vector"
    return ""
