"""What is known before the network runs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import Builder, Constant, static_shape
from edgeconv.export.tflite.qdq import is_dequantize, meaning


def fold(nodes: Iterable[ir.Node], builder: Builder) -> list[ir.Node]:
    """Bind the results of the nodes that depend on constants alone; returns the other nodes."""
    return [node for node in nodes if not _folded(node, builder)]


def _folded(node: ir.Node, builder: Builder) -> bool:
    if node.op_type == "Shape" and node.inputs[0] is not None:
        shape = np.array(static_shape(node.inputs[0]), np.int64)
        start = node.attributes.get_int("start", 0)
        end = node.attributes.get_int("end", len(shape))
        builder.bind(node.outputs[0], Constant(shape[start:end]))
        return True
    known = [None if value is None else builder.known(value) for value in node.inputs]
    if any(
        item is None and value is not None for item, value in zip(known, node.inputs, strict=True)
    ):
        return False
    first = known[0] if known else None
    if is_dequantize(node) and first is not None:
        stated = meaning(node, first, builder)
        if stated is not None:
            builder.bind(node.outputs[0], stated)
            return True
    if node.op_type == "Transpose" and first is not None:
        reverse = tuple(reversed(range(first.array.ndim)))
        perm = node.attributes.get("perm")
        builder.bind(node.outputs[0], first.transposed(tuple(perm.as_ints()) if perm else reverse))
        return True
    _evaluate(node, known, builder)
    return True


def _evaluate(node: ir.Node, known: list[Constant | None], builder: Builder) -> None:
    """Compute a node with ONNX's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    feeds = {
        value.name or "": item.real()
        for value, item in zip(node.inputs, known, strict=True)
        if value is not None and item is not None
    }
    version = node.graph.opset_imports.get("", 20) if node.graph is not None else 20
    evaluator = ReferenceEvaluator(ir.serde.serialize_node(node), opsets={"": version})
    for value, array in zip(node.outputs, evaluator.run(None, feeds), strict=True):
        builder.bind(value, Constant(np.asarray(array)))
