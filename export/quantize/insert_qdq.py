"""Write QuantizeLinear and DequantizeLinear into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.quantize.layers import constant, has_bias
from edgeconv.export.quantize.operators import OPERATORS, Kind
from edgeconv.export.quantize.parameters import (
    ActivationParameters,
    Range,
    activation_parameters,
    bias_scale,
    quantize_bias,
)
from edgeconv.export.quantize.plan import Plan, data_inputs, is_constant
from edgeconv.export.quantize.weights import QuantizedWeight

Array = npt.NDArray[Any]


class Inserter:
    """Turns the float graph of ``model`` into its QDQ form, in place."""

    def __init__(
        self,
        model: ir.Model,
        parameters: Mapping[ir.Value, ActivationParameters],
        activation_dtype: npt.DTypeLike,
        weights: Mapping[str, QuantizedWeight],
    ) -> None:
        self._graph = model.graph
        self._weights = weights
        self._parameters = parameters
        self._dtype = np.dtype(activation_dtype)
        values = [*self._graph.inputs, *self._graph.initializers.values()]
        values += [value for node in self._graph for value in node.outputs]
        self._names = {value.name for value in values}

    def run(self, plan: Plan) -> None:
        for node in list(self._graph):
            if node in plan.float_fallback:
                continue
            operator = OPERATORS[node.op_type]
            if operator.kind is Kind.WEIGHTED:
                self._quantize_weights(node)
            else:
                for value in data_inputs(node, operator):
                    if is_constant(value):
                        self._quantize_constant(node, value)
        for value, parameters in self._parameters.items():
            self._quantize_activation(value, parameters)
        _drop_saturated_clamps(self._graph)
        self._quantize_before_clamps()

    def _quantize_before_clamps(self) -> None:
        """Quantize what a Relu or Clip that remains limits, in the scale of its result. That
        changes nothing, and ONNX Runtime sees by it that the operator in front is quantized.
        """
        for node in list(self._graph):
            operator = OPERATORS.get(node.op_type)
            users = list(node.outputs[0].uses())
            if operator is None or operator.kind is not Kind.CLAMP or len(users) != 1:
                continue
            x, quantize = node.inputs[0], users[0].node
            producer = None if x is None else x.producer()
            if x is None or producer is None or quantize.op_type != "QuantizeLinear":
                continue
            if producer.op_type == "DequantizeLinear" or len(x.uses()) != 1:
                continue
            pair = [value for value in quantize.inputs[1:3] if value is not None]
            first = _node("QuantizeLinear", [x, *pair], self._free(f"{x.name}_quantized"))
            codes = first.outputs[0]
            second = _node("DequantizeLinear", [codes, *pair], self._free(f"{x.name}_dequantized"))
            _describe(codes, x.shape, ir.DataType.from_numpy(self._dtype))
            _describe(second.outputs[0], x.shape, ir.DataType.FLOAT)
            self._graph.insert_before(node, [first, second])
            node.replace_input_with(0, second.outputs[0])

    def _quantize_activation(self, value: ir.Value, parameters: ActivationParameters) -> None:
        users = list(value.uses())
        is_output = value.is_graph_output()
        scale = self._constant(f"{value.name}_scale", np.float32(parameters.scale))
        zero_point = self._constant(
            f"{value.name}_zero_point", parameters.stored_zero_point(self._dtype)
        )
        quantize = _node(
            "QuantizeLinear", [value, scale, zero_point], self._free(f"{value.name}_quantized")
        )
        dequantize = _node(
            "DequantizeLinear",
            [quantize.outputs[0], scale, zero_point],
            self._free(f"{value.name}_dequantized"),
        )
        _describe(quantize.outputs[0], value.shape, ir.DataType.from_numpy(self._dtype))
        _describe(dequantize.outputs[0], value.shape, ir.DataType.FLOAT)
        producer = value.producer()
        if producer is None:
            first = next(iter(self._graph))
            self._graph.insert_before(first, [quantize, dequantize])
        else:
            self._graph.insert_after(producer, [quantize, dequantize])
        for node, index in users:
            node.replace_input_with(index, dequantize.outputs[0])
        if is_output:
            # The graph's interface keeps its name; the value before quantization gets another.
            name = value.name
            value.name = self._free(f"{name}_float")
            dequantize.outputs[0].name = name
            for index, output in enumerate(self._graph.outputs):
                if output is value:
                    self._graph.outputs[index] = dequantize.outputs[0]

    def _quantize_weights(self, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None
        name = str(node.outputs[0].name)
        weight = self._weights[name]
        scales, axis = weight.parameters.scale, weight.parameters.axis
        self._replace_constant(node, 1, f"{name}_weight", weight.integers, scales, axis=axis)
        if has_bias(node):
            bias = constant(node, 2)
            scale = bias_scale(self._parameters[x].scale, scales, len(bias))
            integers = quantize_bias(bias, scale)
            self._replace_constant(node, 2, f"{name}_bias", integers, scale, axis=0)

    def _quantize_constant(self, node: ir.Node, value: ir.Value) -> None:
        array = _array(value)
        parameters = activation_parameters(Range(float(array.min()), float(array.max())))
        index = next(i for i, candidate in enumerate(node.inputs) if candidate is value)
        name = f"{node.outputs[0].name}_input_{index}"
        self._replace_constant(
            node,
            index,
            name,
            parameters.quantize(array, self._dtype),
            np.float32(parameters.scale),
            parameters.stored_zero_point(self._dtype),
        )

    def _replace_constant(
        self,
        node: ir.Node,
        index: int,
        name: str,
        integers: Array,
        scale: npt.NDArray[np.float32] | np.float32,
        zero_point: np.generic | None = None,
        axis: int | None = None,
    ) -> None:
        """Make input ``index`` of ``node`` DequantizeLinear of an integer initializer; without a
        ``zero_point`` it is zero.
        """
        zeros = np.zeros(scale.shape, integers.dtype) if zero_point is None else zero_point
        inputs = [
            self._constant(f"{name}_quantized", integers),
            self._constant(f"{name}_scale", scale),
            self._constant(f"{name}_zero_point", zeros),
        ]
        attributes = {} if axis is None else {"axis": axis}
        dequantize = _node(
            "DequantizeLinear", inputs, self._free(f"{name}_dequantized"), attributes
        )
        _describe(dequantize.outputs[0], ir.Shape(integers.shape), ir.DataType.FLOAT)
        self._graph.insert_before(node, dequantize)
        node.replace_input_with(index, dequantize.outputs[0])

    def _constant(self, name: str, array: Array | np.generic) -> ir.Value:
        name = self._free(name)
        value = ir.val(name, const_value=ir.tensor(np.asarray(array), name=name))
        self._graph.register_initializer(value)
        return value

    def _free(self, name: str) -> str:
        """``name``, with an underscore for every value that has it already: a pass, or who made the
        graph, may call things x_scale too.
        """
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _drop_saturated_clamps(graph: ir.Graph) -> None:
    """Remove each Relu or Clip whose result is quantized into a range within its bounds: the
    integers saturate at the same places.
    """
    for node in list(graph):
        operator = OPERATORS.get(node.op_type)
        if operator is None or operator.kind is not Kind.CLAMP:
            continue
        users = list(node.outputs[0].uses())
        if len(users) != 1 or users[0].node.op_type != "QuantizeLinear":
            continue
        low, high = clamp_bounds(node)
        represented = _represented_range(users[0].node)
        # Rounding of the zero point moves the ends of the range by up to half a step, and the
        # clamp's own bound rounds to the same integer.
        half = (represented.high - represented.low) / 255 / 2
        if represented.low >= low - half and represented.high <= high + half:
            x = node.inputs[0]
            assert x is not None
            ir.convenience.replace_all_uses_with(node.outputs[0], x)
            graph.remove(node, safe=True)


def clamp_bounds(node: ir.Node) -> tuple[float, float]:
    """Lower and upper bound of a Relu, or of a Clip with constant bounds."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = [-np.inf, np.inf]
    for index, value in enumerate(node.inputs[1:3]):
        if value is not None:
            bounds[index] = float(_array(value))
    return bounds[0], bounds[1]


def _represented_range(quantize: ir.Node) -> Range:
    scale, zero_point = (_array(value) for value in quantize.inputs[1:3] if value is not None)
    info = np.iinfo(zero_point.dtype)
    return Range(
        float(scale) * (info.min - int(zero_point)), float(scale) * (info.max - int(zero_point))
    )


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None
    return value.const_value.numpy()


def _node(
    op_type: str, inputs: list[ir.Value], name: str, attributes: dict[str, int] | None = None
) -> ir.Node:
    node = ir.node(op_type, inputs, attributes=attributes or {}, name=name)
    node.outputs[0].name = name
    return node


def _describe(value: ir.Value, shape: ir.Shape | None, dtype: ir.DataType) -> None:
    value.shape = shape
    value.type = ir.TensorType(dtype)
