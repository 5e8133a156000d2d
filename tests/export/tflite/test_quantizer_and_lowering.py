"""The quantizer's table of operators and the integer forms of the lowering agree."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.export.passes import optimize
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.quantize.operators import OPERATORS
from edgeconv.export.quantize.plan import plan
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.registry import Integer, names, rule
from support.lowering import Net, as_model, operators

MAP = (1, 4, 6, 6)
WITH_INTEGERS = [
    name for name in names() if (found := rule(name)) and found.integer is not Integer.NONE
]


@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_an_integer_form_is_used_or_has_a_reason(name: str) -> None:
    found = rule(name)
    assert found is not None
    assert (name in OPERATORS) != bool(found.reason), (
        "the quantizer has to have the operator in its table, or the registry the reason why not"
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_what_the_quantizer_quantizes_has_an_integer_form(name: str) -> None:
    found = rule(name)
    assert found is not None
    assert found.integer is not Integer.NONE


@pytest.mark.parametrize("name", ["Sum", "Identity", "Dropout", "BatchNormalization"])
def test_what_is_said_to_be_gone_before_the_quantization_is_gone(name: str) -> None:
    net = Net()
    x = net.op("Relu", net.input("x", MAP))
    if name == "Sum":
        y = net.op(name, x, net.op("Sigmoid", x), net.op("Tanh", x))
    elif name == "BatchNormalization":
        y = net.op(name, x, *(net.constant(np.full(4, 0.5, np.float32)) for _ in range(4)))
    else:
        y = net.op(name, x)
    model = optimize(as_model(net.output(net.op("Relu", y)).proto()))
    BatchNormToDepthwise()(model)  # the quantizer's first step
    assert name not in {node.op_type for node in model.graph}


def test_functions_between_int8_values_are_in_int8() -> None:
    """As in the files of the export: the quantizer leaves Exp alone, and its neighbors do not."""
    net = Net()
    x = net.quantized(net.input("x", MAP), 0.02, 128)
    y = net.quantized(net.op("Exp", x), 0.05, 0)
    lowered = lower(as_model(net.output(y).proto()))
    assert operators(lowered) == ["QUANTIZE", "EXP", "DEQUANTIZE"]
    assert lowered.float_fallback == ()


@pytest.mark.parametrize("name", ["ScatterElements", "ScatterND"])
def test_what_is_scattered_shares_a_scale_and_the_indices_have_none(name: str) -> None:
    net = Net()
    data, updates = net.input("data", (6,)), net.input("updates", (2,))
    indices = net.input("indices", (2, 1) if name == "ScatterND" else (2,), ir.DataType.INT64)
    model = as_model(net.output(net.op(name, data, indices, updates)).proto())
    found = plan(model.graph)
    output = model.graph.outputs[0].name
    assert {value.name for value in found.activations} == {"data", "updates", output}
    assert len(set(found.activations.values())) == 1
