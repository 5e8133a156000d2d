"""Forms of quantized graphs that other tools write, in the one form that everything else reads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import Array, GraphEditor, describe, known_array
from edgeconv.export.passes.steps import NodePass

_QDQ = ("QuantizeLinear", "DequantizeLinear")


class ScalarScales(NodePass):
    """Writes the scale and zero point of a whole tensor without any dimension."""

    def applies(self, node: ir.Node) -> bool:
        """Apply where a constant has one element in one dimension."""
        return node.op_type in _QDQ and any(_is_single(value) for value in node.inputs[1:3])

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Let the node read a scalar; nothing is left of its axis."""
        for index in (1, 2):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is not None and _is_single(value):
                array = known_array(value)
                assert array is not None
                scalar = editor.constant(f"{value.name}_scalar", array.reshape(()))
                scalar.shape, scalar.type = ir.Shape(()), value.type
                node.replace_input_with(index, scalar)
        node.attributes.pop("axis", None)


def _is_single(value: ir.Value | None) -> bool:
    array = None if value is None else known_array(value)
    return array is not None and array.shape == (1,)


class ClipBeforeQuantize(NodePass):
    """``Clip(QuantizeLinear(x))`` → ``QuantizeLinear(Clip(x))``, the bounds as the codes mean them.

    Rounding keeps the order, so the codes are the same. Brevitas writes such clips for codes of
    fewer bits, and for those of a narrow range.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a Clip with constant bounds behind a QuantizeLinear of a whole tensor."""
        return node.op_type == "Clip" and node.domain == "" and _parts(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Write the Clip on real numbers, or none where the bounds are those of the type."""
        found = _parts(node)
        assert found is not None
        quantize, scale, zero, (low, high) = found
        x, codes = quantize.inputs[0], node.outputs[0]
        assert x is not None
        limits = np.iinfo(zero.dtype)
        before = []
        if low > limits.min or high < limits.max:
            bounds = [
                editor.constant(
                    f"{codes.name}_{name}",
                    # As DequantizeLinear computes it.
                    np.asarray((int(bound) - int(zero)) * np.float32(scale), np.float32),
                )
                for name, bound in (("lower", low), ("upper", high))
            ]
            clip = ir.node("Clip", [x, *bounds], name=editor.free_name(f"{codes.name}_clip"))
            clip.outputs[0].name = clip.name
            describe(clip.outputs[0], x)
            before.append(clip)
        source = before[0].outputs[0] if before else x
        again = ir.node("QuantizeLinear", [source, *quantize.inputs[1:]], name=node.name)
        again.attributes.update(quantize.attributes)
        again.outputs[0].name = codes.name
        describe(again.outputs[0], codes)
        ir.convenience.replace_nodes_and_values(
            editor.graph, node, [node], [*before, again], [codes], again.outputs
        )


def _parts(clip: ir.Node) -> tuple[ir.Node, Array, Array, tuple[int, int]] | None:
    """The QuantizeLinear, its scale and zero point, and the bounds; None where they are unknown."""
    codes = clip.inputs[0]
    quantize = None if codes is None else codes.producer()
    if quantize is None or quantize.op_type != "QuantizeLinear" or codes is None:
        return None
    if codes.dtype is None or len(quantize.inputs) < 2 or quantize.inputs[1] is None:
        return None
    scale = known_array(quantize.inputs[1])
    stated = quantize.inputs[2] if len(quantize.inputs) > 2 else None
    zero = np.zeros((), codes.dtype.numpy()) if stated is None else known_array(stated)
    limits = np.iinfo(codes.dtype.numpy())
    bounds = [limits.min, limits.max]
    for position, value in enumerate(clip.inputs[1:3]):
        array = None if value is None else known_array(value)
        if value is not None and array is None:
            return None
        if array is not None:
            bounds[position] = int(array.item())
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return quantize, scale.reshape(()), zero.reshape(()), (bounds[0], bounds[1])


class QuantizeBeforeClip(NodePass):
    """``QuantizeLinear(Clip(x))`` → ``QuantizeLinear(Clip(DequantizeLinear(QuantizeLinear(x))))``.

    Rounding keeps the order, so the codes are the same. Only where the Clip keeps some codes from
    being used, as PyTorch's ``reduce_range`` does: then no kernel applies it itself, and whatever
    computes ``x`` in integers needs a scale.
    """

    def applies(self, node: ir.Node) -> bool:
        """Apply to a Clip with constant bounds before a QuantizeLinear of a whole tensor only."""
        return node.op_type == "Clip" and node.domain == "" and _narrowing(node) is not None

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Quantize what is clipped by the same scale."""
        quantize, x = _narrowing(node), node.inputs[0]
        assert quantize is not None
        assert x is not None
        codes = ir.node("QuantizeLinear", [x, *quantize.inputs[1:]])
        codes.attributes.update(quantize.attributes)
        describe(codes.outputs[0], quantize.outputs[0])
        real = ir.node("DequantizeLinear", [codes.outputs[0], *quantize.inputs[1:]])
        describe(real.outputs[0], x)
        for each in (codes, real):
            each.name = editor.free_name(f"{node.name}_{each.op_type}")
            each.outputs[0].name = each.name
        editor.graph.insert_before(node, [codes, real])
        node.replace_input_with(0, real.outputs[0])


def _narrowing(clip: ir.Node) -> ir.Node | None:
    """The QuantizeLinear behind a Clip that keeps it from an end of its range, if there is one."""
    x, real = clip.inputs[0], clip.outputs[0]
    producer = None if x is None else x.producer()
    readers = list(real.consumers())
    if producer is not None and producer.op_type == "DequantizeLinear":
        return None
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear" or real.is_graph_output():
        return None
    (quantize,) = readers
    constants = [None if v is None else known_array(v) for v in quantize.inputs[1:3]]
    if len(constants) != 2 or any(array is None or array.size != 1 for array in constants):
        return None
    scale, zero = constants
    assert scale is not None
    assert zero is not None
    limits = np.iinfo(zero.dtype)
    ends = [(int(end) - int(zero.item())) * float(scale.item()) for end in (limits.min, limits.max)]
    half = float(scale.item()) / 2
    inside = []
    for value, end, sign in zip(clip.inputs[1:3], ends, (1, -1), strict=False):
        bound = None if value is None else known_array(value)
        if value is not None and bound is None:
            return None
        inside.append(bound is not None and sign * (float(bound.item()) - end) > half)
    return quantize if any(inside) else None
