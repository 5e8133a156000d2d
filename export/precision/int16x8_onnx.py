"""Full-integer quantization with activations of 16 bits: an int8 QDQ graph becomes an int16x8 one.

The weights keep their integers and scales. An activation keeps the range that calibration gave it,
made symmetric around zero point 0, as TFLite's 16×8 kernels want it
(https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_integer_quant_16x8).
QuantizeLinear has int16 since opset 21.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import version_converter

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.graph_edit import (
    GraphEditor,
    clamp_bounds,
    constant_array,
    describe,
    put_before,
)
from edgeconv.export.opset import INT16_OPSET
from edgeconv.export.passes.steps import NodePass, Step, broken, run
from edgeconv.export.quantize.integer_forms import asymmetric_bounds
from edgeconv.export.quiet import quiet_python
from edgeconv.export.traits import Trait, operators

IR_VERSION = 10
INT16 = np.dtype("int16")
LARGEST = 32767
# Results that the specification fixes: those of Softmax, Sigmoid and Tanh, as int8 has them.
_FIXED_INT8 = {(1 / 256, -128), (1 / 128, 0)}
_FIXED_SCALE = 1 / 32768
_NON_NEGATIVE = operators(Trait.NON_NEGATIVE)
_KEEPS_RANGE = operators(Trait.KEEPS_RANGE)
_JOINS = operators(Trait.JOINS)
_WEIGHTED = operators(Trait.WEIGHTED)


def widen(model: ir.Model) -> ir.Model:
    """Copy an int8 QDQ graph with float inputs and outputs, with activations of int16."""
    steps = [
        Step(RaiseOpset(), "first: QuantizeLinear has int16 only from there on"),
        Step(PutBackRelus(), "before WidenActivations: it reads the int8 ranges"),
        Step(WidenActivations(), "after the last reader of int8 ranges"),
        Step(common.RemoveUnusedNodesPass(), "last: nothing reads the int8 parameters now"),
    ]
    return run(model.clone(), steps)


def refuse_lost_bounds(model: ir.Model, in_float: Collection[str] = ()) -> None:
    """Raise UnsupportedOperator for a Clip of a float graph that symmetric ranges cannot stand for.

    Args:
        model: The float graph.
        in_float: The names of nodes that are not quantized.
    """
    for node in model.graph:
        bounds = None if node.name in in_float else asymmetric_bounds(node)
        if bounds is not None:
            raise UnsupportedOperator(
                f"{node.name} (Clip): int16x8 has no asymmetric bounds such as "
                f"{bounds[0]:g} and {bounds[1]:g}",
                hint=f"keep {node.name} in float with --keep-float, or pass only --precision int8",
            )


class RaiseOpset(ir.passes.InPlacePass):
    """Raises a graph to the first opset with int16 activations."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Convert the operators."""
        if model.graph.opset_imports[""] >= INT16_OPSET:
            return ir.passes.PassResult(model, modified=False)
        with quiet_python():
            version_converter.convert_version(model, INT16_OPSET)
        model.ir_version = IR_VERSION
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that the opset has int16."""
        if model.graph.opset_imports[""] < INT16_OPSET:
            raise broken(self, f"the opset is still {model.graph.opset_imports['']}")


class PutBackRelus(NodePass):
    """Writes the Relu that an int8 range from zero up stands for: a symmetric one goes below."""

    def applies(self, node: ir.Node) -> bool:
        """Apply to a QuantizeLinear of which only the range cuts off what is below zero."""
        return node.op_type == "QuantizeLinear" and cuts_negatives(node)

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write a Relu in front of the QuantizeLinear."""
        x = node.inputs[0]
        assert x is not None
        put_before(editor, node, "Relu", f"{x.name}_relu")


class WidenActivations(ir.passes.InPlacePass):
    """States every activation in int16, around zero point 0, and the biases in their new scales."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Widen them."""
        _Widening(model.graph).run()
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that only weights are int8, and that every other zero point is an int16 zero."""
        for node in model.graph:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            zero_point = constant_array(node.inputs[2])
            if zero_point.any() or not (
                zero_point.dtype == INT16 or _is_weight(node) or is_bias(node)
            ):
                raise broken(self, f"{node.name} ({node.op_type}) is not in int16")


class _Widening:
    def __init__(self, graph: ir.Graph) -> None:
        self._editor = GraphEditor(graph)
        self._zero: ir.Value | None = None
        self._scales: dict[float, ir.Value] = {}

    def run(self) -> None:
        for node in list(self._editor.graph):
            if node.op_type == "QuantizeLinear":
                self._activation(node)
        for node in list(self._editor.graph):
            if node.op_type != "DequantizeLinear":
                continue
            codes = node.inputs[0]
            assert codes is not None
            if codes.const_value is None:
                self._activation(node)
            elif codes.const_value.dtype in (ir.DataType.INT8, ir.DataType.UINT8) and not (
                _is_weight(node)
            ):
                self._constant(node)
        for node in list(self._editor.graph):
            if node.op_type == "DequantizeLinear" and is_bias(node):
                self._bias(node)

    def _activation(self, node: ir.Node) -> None:
        """State ``node``, a QuantizeLinear or DequantizeLinear, in int16."""
        scale, zero_point = int8_parameters(node)
        self._set(node, symmetric(scale, zero_point))
        if node.op_type == "QuantizeLinear":
            node.outputs[0].type = ir.TensorType(ir.DataType.INT16)

    def _set(self, node: ir.Node, scale: float) -> None:
        if self._zero is None:
            self._zero = self._editor.constant("int16_zero_point", np.zeros((), INT16))
        if scale not in self._scales:
            name = f"int16_scale_{len(self._scales)}"
            self._scales[scale] = self._editor.constant(name, np.array(scale, np.float32))
        node.replace_input_with(1, self._scales[scale])
        node.replace_input_with(2, self._zero)

    def _constant(self, node: ir.Node) -> None:
        """State a constant in an activation's place in int16."""
        scale, zero_point = int8_parameters(node)
        codes = node.inputs[0]
        assert codes is not None
        assert codes.const_value is not None
        array = codes.const_value.numpy().astype(np.int32)
        shift = 128 if codes.dtype == ir.DataType.UINT8 else 0
        real = (array - shift - zero_point) * scale
        wide = symmetric(scale, zero_point)
        integers = np.rint(real / np.float32(wide)).clip(-LARGEST, LARGEST).astype(INT16)
        node.replace_input_with(0, self._editor.constant(f"{codes.name}_int16", integers))
        self._set(node, wide)

    def _bias(self, node: ir.Node) -> None:
        """State a bias in the scale that follows from the input's new one.

        That scale is up to 256 times as fine as with int8. A bias beside a small input may be more
        than int32 can hold in it, and DequantizeLinear has no int64: such a bias is added in float.
        It leaves the layer, because ONNX Runtime would quantize it to int32 there.
        """
        (reader,) = node.outputs[0].consumers()
        x, weight = (value.producer() if value else None for value in reader.inputs[:2])
        if x is None or weight is None or x.op_type != "DequantizeLinear":
            return
        codes, old = node.inputs[:2]
        assert codes is not None
        assert old is not None
        new = np.float32(constant_array(x.inputs[1])) * constant_array(weight.inputs[1])
        real = constant_array(codes).astype(np.float64) * constant_array(old)
        integers = np.rint(real / new)
        limits = np.iinfo(np.int32)
        if np.any((integers < limits.min) | (integers > limits.max)):
            self._add_behind(reader, real.astype(np.float32))
            return
        integers = integers.astype(np.int32)
        node.replace_input_with(0, self._editor.constant(f"{codes.name}_int16", integers))
        scale = np.asarray(new, np.float32)
        node.replace_input_with(1, self._editor.constant(f"{old.name}_int16", scale))

    def _add_behind(self, layer: ir.Node, bias: npt.NDArray[np.float32]) -> None:
        """Take the bias out of ``layer``, and add it to the result, in float."""
        layer.replace_input_with(2, None)
        result = layer.outputs[0]
        assert result.shape is not None
        channels = (-1,) + (1,) * (len(result.shape) - 2)
        constant = self._editor.constant(f"{result.name}_bias", bias.reshape(channels))
        add = ir.node("Add", [result, constant], name=self._editor.free_name(f"{result.name}_add"))
        add.outputs[0].name = add.name
        describe(add.outputs[0], result)
        for use in list(result.uses()):
            if use.node is not add:
                use.node.replace_input_with(use.idx, add.outputs[0])
        self._editor.graph.insert_after(layer, add)


def symmetric(scale: float, zero_point: int) -> float:
    """Return the int16 scale that covers the range of an int8 scale and zero point."""
    if (scale, zero_point) in _FIXED_INT8:
        return _FIXED_SCALE
    return float(np.float32(scale * max(128 + zero_point, 127 - zero_point) / LARGEST))


def cuts_negatives(quantize: ir.Node) -> bool:
    """Whether an int8 range that begins at zero may stand for a Relu in front of ``quantize``.

    It does not where the operator in front gives nothing below zero by itself, or gives nothing
    below its inputs, whose ranges begin at zero too.
    """
    value = quantize.inputs[0]
    producer = None if value is None else value.producer()
    if producer is None or not _begins_at_zero(quantize):
        return False
    bounds = clamp_bounds(producer)
    if producer.op_type in _NON_NEGATIVE or (bounds is not None and bounds[0] >= 0):
        return False
    count = len(producer.inputs) if producer.op_type in _JOINS else 1
    sources = [None if value is None else value.producer() for value in producer.inputs[:count]]
    return producer.op_type not in _KEEPS_RANGE or not all(
        source is not None and source.op_type == "DequantizeLinear" and _begins_at_zero(source)
        for source in sources
    )


def _begins_at_zero(node: ir.Node) -> bool:
    return int8_parameters(node)[1] == -128


def int8_parameters(node: ir.Node) -> tuple[float, int]:
    """Scale and zero point of a Q or DQ node, as of int8."""
    zero_point = constant_array(node.inputs[2])
    shift = 128 if zero_point.dtype == np.uint8 else 0
    return float(constant_array(node.inputs[1])), int(zero_point) - shift


def _is_weight(dequantize: ir.Node) -> bool:
    return any(
        use.idx == 1 and use.node.op_type in _WEIGHTED for use in dequantize.outputs[0].uses()
    )


def is_bias(dequantize: ir.Node) -> bool:
    """Whether a DequantizeLinear states a bias."""
    codes = dequantize.inputs[0]
    return codes is not None and codes.const_value is not None and codes.dtype == ir.DataType.INT32
