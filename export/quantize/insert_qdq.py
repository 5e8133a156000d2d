"""Write QuantizeLinear and DequantizeLinear into the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.graph_edit import (
    CUTS,
    IN_FLOAT,
    KEPT,
    STATES,
    GraphEditor,
    clamp_bounds,
    constant_array,
    describe,
    only_consumer,
)
from edgeconv.export.passes.steps import broken
from edgeconv.export.quantize.integer_forms import LOOKUPS, data_inputs, fused_output, is_constant
from edgeconv.export.quantize.layers import constant, has_bias
from edgeconv.export.quantize.needs import operand_need
from edgeconv.export.quantize.operators import OPERATORS, Kind
from edgeconv.export.quantize.parameters import (
    ActivationParameters,
    Range,
    activation_parameters,
    bias_scale,
    quantize_bias,
)
from edgeconv.export.quantize.plan import Plan
from edgeconv.export.quantize.weights import QuantizedWeight

Array = npt.NDArray[Any]

# A factor so large takes every value but zero beyond the result's range, and with int16 all but
# those of one step; a larger one, as in a mask, is beyond what kernels multiply by.
_FACTOR_REACH = 2.0**14


class InsertQdq(ir.passes.InPlacePass):
    """Turns a float graph into its QDQ form.

    Args:
        plan: What becomes an integer in this very graph.
        parameters: The scale and zero point of each activation of ``plan``.
        activation_dtype: The type in which the integers are stored, int8 or uint8.
        weights: The integer weights, by the name of the layer's result.
    """

    def __init__(
        self,
        plan: Plan,
        parameters: Mapping[ir.Value, ActivationParameters],
        activation_dtype: npt.DTypeLike,
        weights: Mapping[str, QuantizedWeight],
    ) -> None:
        super().__init__()
        self._plan = plan
        self._parameters = parameters
        self._dtype = np.dtype(activation_dtype)
        self._weights = weights

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert the pairs."""
        _Inserter(model.graph, self._parameters, self._dtype, self._weights).run(self._plan)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that nothing in integers reads or writes an activation of the plan in float."""
        for value in self._parameters:
            if value.is_graph_output() or any(
                node.op_type != "QuantizeLinear" and not _is_read_in_float(value, node, self._plan)
                for node in value.consumers()
            ):
                raise broken(self, f"{value.name} is read in float")


def _is_read_in_float(value: ir.Value, reader: ir.Node, plan: Plan) -> bool:
    """Whether ``reader`` takes ``value`` as an operator in float computes it, unrounded."""
    return value.producer() in plan.float_fallback and reader in plan.float_fallback


class _Inserter:
    def __init__(
        self,
        graph: ir.Graph,
        parameters: Mapping[ir.Value, ActivationParameters],
        dtype: np.dtype[Any],
        weights: Mapping[str, QuantizedWeight],
    ) -> None:
        self._graph = graph
        self._editor = GraphEditor(graph)
        self._weights = weights
        self._parameters = parameters
        self._dtype = dtype

    def run(self, plan: Plan) -> None:
        for node in list(self._graph):
            if node in plan.float_fallback:
                self._saturate_constants(node)
                if plan.float_fallback[node] in KEPT:
                    node.meta[IN_FLOAT] = plan.float_fallback[node]
                continue
            operator = OPERATORS[node.op_type]
            if operator.kind is Kind.WEIGHTED:
                self._quantize_weights(node)
            else:
                for value in data_inputs(node, operator):
                    if is_constant(value):
                        self._quantize_constant(node, value)
        for value, parameters in self._parameters.items():
            self._quantize_activation(value, parameters, plan)
        clamps = [node for node in self._graph if _is_clamp(node)]
        # One that stays in float with what it reads may be read in more than 8 bits.
        integer = [node for node in clamps if node not in plan.float_fallback or _reads_codes(node)]
        saturated = [node for node in integer if _is_saturated(node)]
        for node in saturated:
            self._drop(node)
        self._quantize_before(node for node in integer if node not in saturated)

    def _quantize_before(self, clamps: Iterable[ir.Node]) -> None:
        """Quantize the input of each Relu or Clip, with the scale of its result.

        That changes no result, and shows ONNX Runtime that the operator in front is quantized.
        """
        for node in clamps:
            quantize = only_consumer(node.outputs[0], "QuantizeLinear")
            x = node.inputs[0]
            producer = None if x is None else x.producer()
            if quantize is None or x is None or producer is None or only_consumer(x) is None:
                continue
            if producer.op_type == "DequantizeLinear":
                continue
            pair = [value for value in quantize.inputs[1:3] if value is not None]
            first = self._node("QuantizeLinear", [x, *pair], f"{x.name}_quantized")
            first.meta[STATES] = quantize.meta.get(STATES)
            quantized = first.outputs[0]
            second = self._node("DequantizeLinear", [quantized, *pair], f"{x.name}_dequantized")
            second.meta[STATES] = first.meta[STATES]
            describe(quantized, x, dtype=ir.DataType.from_numpy(self._dtype))
            describe(second.outputs[0], x)
            self._graph.insert_before(node, [first, second])
            node.replace_input_with(0, second.outputs[0])

    def _drop(self, clamp: ir.Node) -> None:
        x, quantize = clamp.inputs[0], only_consumer(clamp.outputs[0], "QuantizeLinear")
        assert x is not None
        assert quantize is not None
        quantize.meta[CUTS] = clamp_bounds(clamp)
        ir.convenience.replace_all_uses_with(clamp.outputs[0], x)
        self._graph.remove(clamp, safe=True)

    def _quantize_activation(
        self, value: ir.Value, parameters: ActivationParameters, plan: Plan
    ) -> None:
        users = [use for use in value.uses() if not _is_read_in_float(value, use.node, plan)]
        is_output = value.is_graph_output()
        scale = self._editor.constant(f"{value.name}_scale", np.float32(parameters.scale))
        zero_point = self._editor.constant(
            f"{value.name}_zero_point", parameters.stored_zero_point(self._dtype)
        )
        quantize = self._node(
            "QuantizeLinear",
            [value, scale, zero_point],
            f"{value.name}_quantized",
        )
        dequantize = self._node(
            "DequantizeLinear",
            [quantize.outputs[0], scale, zero_point],
            f"{value.name}_dequantized",
        )
        quantize.meta[STATES] = dequantize.meta[STATES] = str(value.name)
        describe(quantize.outputs[0], value, dtype=ir.DataType.from_numpy(self._dtype))
        describe(dequantize.outputs[0], value)
        producer = value.producer()
        if producer is None:
            first = next(iter(self._graph))
            self._graph.insert_before(first, [quantize, dequantize])
        else:
            self._graph.insert_after(producer, [quantize, dequantize])
        for node, index in users:
            node.replace_input_with(index, dequantize.outputs[0])
        if is_output:
            # The output of the graph keeps its name; the value before quantization gets another.
            name = value.name
            value.name = self._editor.free_name(f"{name}_float")
            dequantize.outputs[0].name = name
            for index, output in enumerate(self._graph.outputs):
                if output is value:
                    self._graph.outputs[index] = dequantize.outputs[0]

    def _quantize_weights(self, node: ir.Node) -> None:
        x = node.inputs[0]
        assert x is not None
        name = str(node.outputs[0].name)
        weight = self._weights[name]
        scales = weight.parameters.scale
        axis = weight.parameters.axis if scales.ndim else None
        self._replace_constant(node, 1, f"{name}_weight", weight.integers, scales, axis=axis)
        if has_bias(node):
            bias = constant(node, 2)
            scale = bias_scale(self._parameters[x].scale, scales, len(bias))
            integers = quantize_bias(bias, scale)
            bias_axis = 0 if scales.ndim else None
            self._replace_constant(node, 2, f"{name}_bias", integers, scale, axis=bias_axis)

    def _saturate_constants(self, node: ir.Node) -> None:
        """Cut what a Where in float fills in to what its result, in integers, can tell apart."""
        result = self._parameters.get(node.outputs[0])
        if node.op_type != "Where" or node.domain != "" or result is None:
            return
        for index in (1, 2):
            value = node.inputs[index]
            if value is None or not is_constant(value):
                continue
            array = constant_array(value)
            cut = np.clip(array, result.range.low, result.range.high)
            if (cut != array).any():
                name = f"{node.outputs[0].name}_input_{index}"
                node.replace_input_with(index, self._editor.constant(name, cut))

    def _saturated(self, node: ir.Node, index: int) -> Array:
        """A constant operand, cut to what changes the result."""
        array = constant_array(node.inputs[index])
        result = self._parameters.get(fused_output(node.outputs[0]))
        other = node.inputs[1 - index] if len(node.inputs) == 2 else None
        if result is None or (len(node.inputs) == 2 and other not in self._parameters):
            return array
        span = Range(0.0, 0.0) if other is None else self._parameters[other].range
        need = operand_need(node, index, result.range, span)
        if node.op_type == "Mul" and span.span:
            limit = result.range.reach * _FACTOR_REACH / span.span
            need = Range(-limit, limit)
        cut: Array = np.clip(array, np.float32(need.low), np.float32(need.high))
        return cut

    def _quantize_constant(self, node: ir.Node, value: ir.Value) -> None:
        index = next(i for i, candidate in enumerate(node.inputs) if candidate is value)
        if node.op_type in LOOKUPS:
            # In the codes of its result, which are copied.
            array, parameters = constant_array(value), self._parameters[node.outputs[0]]
        else:
            array = self._saturated(node, index)
            parameters = activation_parameters(Range(float(array.min()), float(array.max())))
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
        """Make input ``index`` of ``node`` the DequantizeLinear of an integer initializer.

        Without a ``zero_point`` it is zero.
        """
        zeros = np.zeros(scale.shape, integers.dtype) if zero_point is None else zero_point
        inputs = [
            self._editor.constant(f"{name}_quantized", integers),
            self._editor.constant(f"{name}_scale", scale),
            self._editor.constant(f"{name}_zero_point", zeros),
        ]
        attributes = {} if axis is None else {"axis": axis}
        dequantize = self._node("DequantizeLinear", inputs, f"{name}_dequantized", attributes)
        describe(dequantize.outputs[0], inputs[0], dtype=ir.DataType.FLOAT)
        self._graph.insert_before(node, dequantize)
        node.replace_input_with(index, dequantize.outputs[0])

    def _node(
        self,
        op_type: str,
        inputs: list[ir.Value],
        name: str,
        attributes: dict[str, int] | None = None,
    ) -> ir.Node:
        name = self._editor.free_name(name)
        node = ir.node(op_type, inputs, attributes=attributes or {}, name=name)
        node.outputs[0].name = name
        return node


def _is_clamp(node: ir.Node) -> bool:
    operator = OPERATORS.get(node.op_type)
    return operator is not None and operator.kind is Kind.CLAMP


def _reads_codes(node: ir.Node) -> bool:
    """Whether a node reads an activation that has been an integer."""
    producer = node.inputs[0].producer() if node.inputs[0] is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _is_saturated(node: ir.Node) -> bool:
    """Whether the result of a Relu or Clip is quantized into a range within its bounds.

    The integers saturate at the same values then, without it.
    """
    quantize, bounds = only_consumer(node.outputs[0], "QuantizeLinear"), clamp_bounds(node)
    if quantize is None or bounds is None:
        return False
    low, high = bounds
    represented = _represented_range(quantize)
    # Rounding of the zero point moves the ends of the range by up to half a step, and the
    # clamp's own bound rounds to the same integer.
    half = (represented.high - represented.low) / 255 / 2
    return represented.low >= low - half and represented.high <= high + half


def _represented_range(quantize: ir.Node) -> Range:
    scale, zero_point = (
        constant_array(value) for value in quantize.inputs[1:3] if value is not None
    )
    info = np.iinfo(zero_point.dtype)
    return Range(
        float(scale) * (info.min - int(zero_point)), float(scale) * (info.max - int(zero_point))
    )
