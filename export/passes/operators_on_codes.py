"""Operators that read the integers of quantized tensors as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import Array, GraphEditor, describe, known_array
from edgeconv.export.passes.steps import NodePass
from edgeconv.export.traits import Trait, operators

_CODES = (ir.DataType.UINT8, ir.DataType.INT8)
_COMPARING = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_JOINING = operators(Trait.JOINS) | _COMPARING
_SINGLE = (operators(Trait.MOVES) - _JOINING) | {
    *("ArgMax", "ArgMin", "MaxPool", "Pad", "ReduceMax", "ReduceMin", "Relu", "Resize", "TopK")
}
_WHERE = "Where"


@dataclass(frozen=True)
class _Scale:
    """The scale and the zero point of a whole tensor, and the values that state them."""

    values: tuple[ir.Value, ...]
    scale: np.float32
    zero: int

    @property
    def numbers(self) -> tuple[float, int]:
        return float(self.scale), self.zero

    def real(self, codes: Array) -> Array:
        """What codes mean, as DequantizeLinear computes it."""
        return np.asarray((codes.astype(np.int32) - self.zero) * self.scale, np.float32)


class OperatorsOnCodes(NodePass):
    """``Op(codes)`` → ``QuantizeLinear(Op(DequantizeLinear(codes)))``, by the same scale.

    Only operators that select, move or compare elements, whose results are the same. ONNX Runtime's
    quantizer writes them on integers in its operator-oriented form (QOperator).
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply where all codes that the operator reads have one scale."""
        return not _rounds(node) and _scale_of(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Let the operator read real numbers."""
        scale = _scale_of(node)
        assert scale is not None
        inputs = [
            _dequantized(editor, node, value, scale) if index in _read(node) else value
            for index, value in enumerate(node.inputs)
        ]
        operator, outputs = node.op_type, list(node.outputs)
        if operator == "Pad" and node.attributes.get_string("mode", "constant") == "constant":
            inputs += [None] * (3 - len(inputs))
            if inputs[2] is None:
                fill = scale.real(np.zeros((), np.int32))
                inputs[2] = editor.constant(f"{node.name}_fill", fill)
        elif operator == "Relu":  # of the codes themselves, whose zero is another real number
            operator = "Clip"
            lower = scale.real(np.zeros((), np.int32))
            inputs.append(editor.constant(f"{node.name}_lower", lower))
        real = ir.node(operator, inputs, node.attributes, num_outputs=len(outputs), name=node.name)
        values = scale.values
        if len(values) == 1 and any(value.dtype is ir.DataType.INT8 for value in outputs):
            values += (editor.constant(f"{node.name}_zero_point", np.int8(0)),)
        after, results = [real], list(real.outputs)
        for index, (old, new) in enumerate(zip(outputs, real.outputs, strict=True)):
            describe(new, old)
            new.name = old.name
            if old.dtype in _CODES:
                new.type = ir.TensorType(ir.DataType.FLOAT)
                new.name = editor.free_name(f"{old.name}_real")
                quantize = ir.node("QuantizeLinear", [new, *values], name=f"{new.name}_codes")
                results[index] = quantize.outputs[0]
                describe(results[index], old)
                results[index].name = old.name
                after.append(quantize)
        ir.convenience.replace_nodes_and_values(editor.graph, node, [node], after, outputs, results)


class ResizeOnCodes(OperatorsOnCodes):
    """The same for a Resize between elements, which ONNX Runtime cuts off rather than rounds.

    So results may be one code larger.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply where the codes have a scale."""
        return _rounds(node) and _scale_of(node) is not None


def _rounds(node: ir.Node) -> bool:
    return node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest"


def _read(node: ir.Node) -> Sequence[int]:
    """The inputs of an operator that are data."""
    if node.domain != "":
        return ()
    if node.op_type in _JOINING:
        return range(len(node.inputs))
    if node.op_type == _WHERE:
        return (1, 2)
    if node.op_type == "Pad":
        return (0, 2)
    return (0,) if node.op_type in _SINGLE else ()


def _scale_of(node: ir.Node) -> _Scale | None:
    """The one scale of all codes that an operator reads; None if there is no such."""
    read = [node.inputs[index] for index in _read(node) if index < len(node.inputs)]
    values = [value for value in read if value is not None]
    if not values or any(value.dtype not in _CODES for value in values):
        return None
    computed = [value for value in values if known_array(value) is None]
    stated = [_stated(value) or _read_with(_codes_among(node.outputs)) for value in computed]
    if not stated or any(scale is None for scale in stated):
        return None
    return stated[0] if len({scale.numbers for scale in stated if scale}) == 1 else None


def _codes_among(values: Iterable[ir.Value]) -> list[ir.Value]:
    return [value for value in values if value.dtype in _CODES]


def _stated(codes: ir.Value) -> _Scale | None:
    """The scale by which codes were computed, or else the one with which all read them."""
    node = codes.producer()
    if node is not None and node.op_type == "QuantizeLinear":
        return _scale(node)
    return _read_with([codes])


def _read_with(codes: Iterable[ir.Value]) -> _Scale | None:
    """The scale with which DequantizeLinear reads codes, if nothing else does."""
    readers = [node for value in codes for node in value.consumers()]
    if any(node.op_type != "DequantizeLinear" for node in readers):
        return None
    found = [_scale(node) for node in readers]
    if not found or any(scale is None for scale in found):
        return None
    return found[0] if len({scale.numbers for scale in found if scale}) == 1 else None


def _scale(node: ir.Node) -> _Scale | None:
    values = tuple(value for value in node.inputs[1:3] if value is not None)
    arrays = [known_array(value) for value in values]
    if len(arrays) != len(node.inputs[1:3]) or any(a is None or a.size != 1 for a in arrays):
        return None
    if values[0].dtype != ir.DataType.FLOAT:
        return None
    scale, *zero = (array.item() for array in arrays if array is not None)
    return _Scale(values, np.float32(scale), int(zero[0]) if zero else 0)


def _dequantized(
    editor: GraphEditor, node: ir.Node, codes: ir.Value | None, scale: _Scale
) -> ir.Value | None:
    """The real numbers that codes mean: a constant, or the result of a new DequantizeLinear."""
    if codes is None:
        return None
    known = known_array(codes)
    if known is not None:
        return editor.constant(f"{codes.name}_real", scale.real(known))
    name = editor.free_name(f"{node.name}_dequantized")
    added = ir.node("DequantizeLinear", [codes, *scale.values], name=name)
    added.outputs[0].name = name
    describe(added.outputs[0], codes, dtype=ir.DataType.FLOAT)
    editor.graph.insert_before(node, added)
    return added.outputs[0]
