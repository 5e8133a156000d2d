"""Files that only store their weights as integers, and compute in float."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import Array, GraphEditor, describe, known_array

_INTEGERS = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16}
_INTEGERS |= {ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT32}


def has_only_weights_stored(model: ir.Model) -> bool:
    """Whether no activation is quantized, and every DequantizeLinear reads constants."""
    kinds = {node.op_type for node in model.graph.all_nodes()}
    if "DequantizeLinear" not in kinds or "QuantizeLinear" in kinds:
        return False
    return all(_table(node) is not None for node in _dequantizers(model))


def read_stored_weights(model: ir.Model) -> None:
    """Write the weights of ``model`` as the reals that their integers mean, in place.

    Raises:
        CaptureError: Scales do not fit the weights.
    """
    editor = GraphEditor(model.graph)
    for node in list(_dequantizers(model)):
        table = _table(node)
        result, graph = node.outputs[0], node.graph
        assert table is not None
        assert graph is not None
        try:
            reals = _real(node, table)
        except (IndexError, ValueError) as error:  # NumPy's, where shapes do not fit
            raise CaptureError(
                f"{node.name or result.name} (DequantizeLinear) has scales or zero points that do "
                f"not fit weights of {list(table.shape)} along its axis",
                hint="make the file again, and look at the axis and the scales there",
            ) from error
        real = editor.constant(f"{result.name}_real", reals)
        source = node.inputs[0]
        gather = None if source is None or known_array(source) is not None else source.producer()
        if gather is None:
            result.replace_all_uses_with(real, replace_graph_outputs=True)
            graph.remove(node, safe=True)
            continue
        again = ir.node("Gather", [real, gather.inputs[1]], gather.attributes, name=node.name)
        again.outputs[0].name = editor.free_name(f"{result.name}_rows")
        describe(again.outputs[0], result)
        ir.convenience.replace_nodes_and_values(
            graph, node, [node], [again], [result], again.outputs
        )


def _dequantizers(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph.all_nodes() if node.op_type == "DequantizeLinear")


def _table(node: ir.Node) -> Array | None:
    """The constant integers that a DequantizeLinear reads, or whose rows it reads."""
    source = node.inputs[0]
    if source is None or any(
        value is not None and known_array(value) is None for value in node.inputs[1:]
    ):
        return None
    known = known_array(source)
    producer = source.producer()
    if known is not None or producer is None or producer.op_type != "Gather":
        return known
    scale = None if node.inputs[1] is None else known_array(node.inputs[1])
    whole = scale is not None and scale.size == 1 and producer.inputs[0] is not None
    return known_array(producer.inputs[0]) if whole and producer.inputs[0] is not None else None


def _real(node: ir.Node, codes: Array) -> Array:
    """As the standard says: by one scale, by one for each index of an axis, or by blocks."""
    scale, zero = (
        None
        if index >= len(node.inputs) or node.inputs[index] is None
        else known_array(node.inputs[index])  # type: ignore[arg-type]
        for index in (1, 2)
    )
    assert scale is not None
    zero = np.zeros_like(scale, np.int32) if zero is None else zero.astype(np.int32)
    axis = node.attributes.get_int("axis", 1)
    block = node.attributes.get_int("block_size", 0)
    if scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    elif block:
        rows = codes.shape[axis]
        scale, zero = (
            np.repeat(each, block, axis).take(range(rows), axis) for each in (scale, zero)
        )
    else:
        shape = [1] * codes.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((codes.astype(np.int32) - zero).astype(np.float32) * scale, np.float32)
