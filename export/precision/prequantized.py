"""Pre-quantized networks: QDQ files of other tools, and quantization-aware training."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.bundle import Precision
from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import (
    IN_FLOAT,
    Array,
    GraphEditor,
    constant_array,
    describe,
    only_consumer,
)
from edgeconv.export.passes.steps import NodePass, Step, run
from edgeconv.export.traits import Trait, operators

_VIEWS = operators(Trait.VIEWS) | {"Transpose"}
_OUTPUT_DTYPE_OPSET = 21
_IN_INT16 = operators(Trait.WEIGHTED | Trait.MOVES | Trait.POOLS) | {
    *("QuantizeLinear", "DequantizeLinear", "Add", "Sub", "Mul", "Max", "Min", "Relu", "Clip")
}
"""What the lowering writes as one kernel that there is in int16 too."""
_BY_ACTIVATION = {
    ir.DataType.INT8: Precision.INT8,
    ir.DataType.UINT8: Precision.INT8,
    ir.DataType.INT16: Precision.INT16X8,
}


def existing_precision(model: ir.Model, name: str) -> Precision | None:
    """Find the precision of a pre-quantized graph; None for a float graph.

    Args:
        model: a captured graph.
        name: the name of the network, for the message.

    Raises:
        CaptureError: it is quantized in a way that no precision of ours stands for.
    """
    kinds = {node.op_type for node in model.graph}
    if not kinds & {"QuantizeLinear", "DequantizeLinear"}:
        return None
    stored = {node.outputs[0].dtype for node in model.graph if node.op_type == "QuantizeLinear"}
    if not stored:
        raise CaptureError(
            f"{name} stores its weights as integers and computes in float",
            hint="pass the float network with --precision int8-dynamic",
        )
    found = {_BY_ACTIVATION.get(dtype) if dtype else None for dtype in stored}
    if len(found) != 1 or None in found:
        types = ", ".join(sorted("unknown" if d is None else d.name.lower() for d in stored))
        raise CaptureError(
            f"{name} quantizes activations to {types}",
            hint="quantize all of them to int8, to uint8 or to int16",
        )
    return found.pop()


def mark_float_of_int16(model: ir.Model) -> None:
    """Let the lowering compute in float what TFLite has no int16 form of, in a graph of int16."""
    for node in model.graph:
        if node.op_type not in _IN_INT16:
            node.meta[IN_FLOAT] = "TFLite has no int16 form of it"


def state_pooled_scales(model: ir.Model) -> None:
    """State all that the integers of a pre-quantized graph need, in place."""
    steps = [
        Step(PartWeights(), "the numbers are kept"),
        Step(StatePooledScales(), "a quantized graph is kept as it is otherwise"),
        Step(
            StateMovedScales(), "after the pools, which a Reshape may follow", _OUTPUT_DTYPE_OPSET
        ),
    ]
    run(model, steps)


class StatePooledScales(NodePass):
    """Quantizes the result of each GlobalAveragePool as that of the Reshape behind it is.

    A mean over a map becomes those two, and only the second is followed by its QuantizeLinear. A
    Reshape changes no number, so the scale holds for both.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a pool whose result only a Reshape and then a QuantizeLinear reads."""
        return node.op_type == "GlobalAveragePool" and _quantized_reshape(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the pair of the Reshape between the two."""
        found = _quantized_reshape(node)
        assert found is not None
        reshape, quantize = found
        pooled = node.outputs[0]
        first = ir.node("QuantizeLinear", [pooled, *quantize.inputs[1:]])
        second = ir.node("DequantizeLinear", [first.outputs[0], *quantize.inputs[1:]])
        for step, suffix in ((first, "quantized"), (second, "dequantized")):
            step.name = step.outputs[0].name = editor.free_name(f"{pooled.name}_{suffix}")
            describe(step.outputs[0], pooled)
        first.outputs[0].type = quantize.outputs[0].type
        editor.graph.insert_after(node, [first, second])
        reshape.replace_input_with(0, second.outputs[0])


class PartWeights(NodePass):
    """Gives each reader of an int8 weight its own, with a zero point in the shape of its scale.

    With the setting that makes products exact on x86 processors without VNNI, ONNX Runtime writes
    int8 weights as uint8 where it loads a file. It refuses one in which two layers share numbers or
    a zero point, and adds a zero point of the wrong shape where there is none. This is for what is
    written, which programs load; :mod:`edgeconv.export.exact_products` does as much to the bytes of
    any file, for sessions of its own.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a DequantizeLinear of a weight that shares something or has no zero point."""
        weight = _int8_weight(node)
        if weight is None:
            return False
        zero = _zero_point(node)
        return len(node.outputs[0].uses()) > 1 or zero is None or _shared(weight) or _shared(zero)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write a node for each further reader, and the constants of this one."""
        result = node.outputs[0]
        for user, index in list(result.uses())[1:]:
            again = ir.node("DequantizeLinear", node.inputs, dict(node.attributes))
            again.name = again.outputs[0].name = editor.free_name(f"{result.name}_again")
            describe(again.outputs[0], result)
            editor.graph.insert_after(node, again)
            user.replace_input_with(index, again.outputs[0])
        weight, scale, zero = node.inputs[0], node.inputs[1], _zero_point(node)
        assert weight is not None
        if _shared(weight):
            self._own(editor, node, 0, f"{result.name}_weight", constant_array(weight))
        if zero is None:
            node.resize_inputs(3)
            zeros = np.zeros(constant_array(scale).shape, np.int8)
            self._own(editor, node, 2, f"{result.name}_zero_point", zeros)
        elif _shared(zero):
            self._own(editor, node, 2, f"{result.name}_zero_point", constant_array(zero))

    def _own(self, editor: GraphEditor, node: ir.Node, index: int, name: str, array: Array) -> None:
        own = editor.constant(name, array)
        own.shape, own.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.INT8)
        node.replace_input_with(index, own)


def _zero_point(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None


def _shared(constant: ir.Value) -> bool:
    return sum(_int8_weight(use.node) is not None for use in constant.uses()) > 1


def _int8_weight(node: ir.Node) -> ir.Value | None:
    """The constant that a DequantizeLinear reads, if it is of int8, as is its zero point."""
    if node.op_type != "DequantizeLinear" or any(
        value is not None and (value.const_value is None or value.producer() is not None)
        for value in node.inputs
    ):
        return None
    weight = node.inputs[0]
    return weight if weight is not None and weight.dtype == ir.DataType.INT8 else None


class StateMovedScales(NodePass):
    """Quantizes what is only a view of int8 numbers again, which changes none of them.

    ONNX Runtime does so itself where it loads the file, and then, on x86, turns int8 into uint8 but
    forgets an attribute that QuantizeLinear has since opset 21: it refuses the file.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a view of int8 numbers whose result is read as it is."""
        return _dequantized(node) is not None and any(
            user.op_type != "QuantizeLinear" for user in node.outputs[0].consumers()
        )

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the pair behind the view."""
        dequantize = _dequantized(node)
        assert dequantize is not None
        assert dequantize.inputs[0] is not None
        view = node.outputs[0]
        users = [use for use in view.uses() if use.node.op_type != "QuantizeLinear"]
        first = ir.node("QuantizeLinear", [view, *dequantize.inputs[1:]])
        second = ir.node("DequantizeLinear", [first.outputs[0], *dequantize.inputs[1:]])
        for step, suffix in ((first, "quantized"), (second, "dequantized")):
            step.name = step.outputs[0].name = editor.free_name(f"{view.name}_{suffix}")
            describe(step.outputs[0], view)
        first.outputs[0].type = dequantize.inputs[0].type
        editor.graph.insert_after(node, [first, second])
        for user, index in users:
            user.replace_input_with(index, second.outputs[0])


def _dequantized(view: ir.Node) -> ir.Node | None:
    """The DequantizeLinear of a whole int8 tensor that a view is of."""
    source = view.inputs[0] if view.op_type in _VIEWS and view.domain == "" else None
    node = None if source is None else source.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return None
    scale = node.inputs[1]
    whole = scale is not None and scale.shape is not None and len(scale.shape) == 0
    return node if whole and node.inputs[0].dtype == ir.DataType.INT8 else None


def _quantized_reshape(pool: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    reshape = only_consumer(pool.outputs[0], "Reshape")
    quantize = only_consumer(reshape.outputs[0], "QuantizeLinear") if reshape else None
    return None if reshape is None or quantize is None else (reshape, quantize)
