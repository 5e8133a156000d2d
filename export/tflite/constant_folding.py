"""What is known before the network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.graph_edit import is_empty
from edgeconv.export.known_nodes import RANDOM
from edgeconv.export.tflite.builder import (
    FLOAT,
    Builder,
    Constant,
    demand_room,
    itemsize,
    static_shape,
    title,
)
from edgeconv.export.tflite.graph import Array
from edgeconv.export.tflite.qdq import is_dequantize, meaning


def _padded(_: ir.Node, inputs: Sequence[Any]) -> object:
    """The sizes of what a Pad makes, but for what negative pads cut off."""
    data, pads = inputs[:2]
    sizes = np.array(data.shape)
    axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else np.arange(data.ndim)
    sizes[axes] += np.maximum(pads, 0).reshape(2, -1).sum(axis=0)
    return sizes


def _resized(node: ir.Node, inputs: Sequence[Any]) -> object:
    """The sizes of what a Resize makes, rounded up."""
    shape = np.array(inputs[0].shape, float)  # a scale may be larger than any integer
    # Scales or sizes; a region stands before them.
    stated = [item for item in inputs[1:] if item is not None and item.size][-1]
    axes = list(node.attributes.get_ints("axes", range(shape.size)))
    policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if stated.dtype.kind == "f":
        stated = np.ceil(shape[axes] * stated)
    elif policy != "stretch":
        ratios = stated / shape[axes]
        stated = np.ceil(shape[axes] * (ratios.min() if policy == "not_larger" else ratios.max()))
    shape[axes] = stated
    return shape


GROWN: dict[str, Callable[[ir.Node, Sequence[Any]], object]] = {
    "ConstantOfShape": lambda _, inputs: inputs[0],
    "Expand": lambda _, inputs: np.broadcast_shapes(inputs[0].shape, tuple(map(int, inputs[1]))),
    "OneHot": lambda _, inputs: (inputs[0].size, *inputs[1].flat),
    "Pad": _padded,
    "Range": lambda _, inputs: np.ceil((inputs[1] - inputs[0]) / inputs[2]).clip(0),
    "Resize": _resized,
    "Tile": lambda _, inputs: (inputs[0].size, *inputs[1].flat),
}
"""Operators whose result may be far larger than their inputs, with numbers whose product is the
most elements that it can have."""


SHAPED_BY_VALUES = {"ConstantOfShape", "EyeLike", "Range"}
"""Operators that are always computed at export: their inputs determine the size of their result."""


def fold_constants(nodes: Iterable[ir.Node], builder: Builder) -> list[ir.Node]:
    """Bind the results of the nodes that depend only on constants; returns the other nodes."""
    return [node for node in nodes if not fold_node(node, builder, _version(node))]


def _version(node: ir.Node) -> int:
    return 20 if node.graph is None else node.graph.opset_imports.get("", 20)


def fold_node(node: ir.Node, builder: Builder, version: int) -> bool:
    """Bind the results of a node of opset ``version``, if its inputs are all known.

    Raises:
        UnsupportedOperator: it draws random numbers, or cannot be computed.
    """
    if node.op_type in RANDOM:
        raise UnsupportedOperator(
            f"{title(node)}: it draws random numbers, which would be the same in every run",
            hint="feed them as an input",
        )
    if node.op_type == "Shape" and node.inputs[0] is not None:
        shape = np.array(static_shape(node.inputs[0]), np.int64)
        start = node.attributes.get_int("start", 0)
        end = node.attributes.get_int("end", len(shape))
        builder.bind(node.outputs[0], Constant(shape[start:end]))
        return True
    if node.op_type == "Size" and node.inputs[0] is not None:
        size = np.array(prod(static_shape(node.inputs[0])), np.int64)
        builder.bind(node.outputs[0], Constant(size))
        return True
    if _all_empty(node, builder):
        return True
    known = [None if value is None else builder.known(value) for value in node.inputs]
    if node.op_type == "CastLike" and node.inputs[1] is not None and node.inputs[1].dtype:
        known[1] = Constant(np.zeros(1, node.inputs[1].dtype.numpy()))
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
    _evaluate(node, known, builder, version)
    return True


def _all_empty(node: ir.Node, builder: Builder) -> bool:
    """Bind the results that have no elements, which makes them known; whether all are such."""
    empty = [is_empty(value) for value in node.outputs]
    for value, nothing in zip(node.outputs, empty, strict=True):
        if nothing:
            builder.bind(value, nothing_of(value))
    return bool(empty) and all(empty)


def nothing_of(value: ir.Value) -> Constant:
    """The whole of a value without elements."""
    dtype = FLOAT if value.dtype is None else value.dtype.numpy()
    return Constant(np.zeros(static_shape(value), dtype))


def _evaluate(node: ir.Node, known: list[Constant | None], builder: Builder, version: int) -> None:
    """Compute a node with ONNX's reference implementation, or ONNX Runtime where that has none.

    Raises:
        UnsupportedOperator: its result is too large, or there is none.
    """
    feeds = {
        value.name or "": item.real()
        for value, item in zip(node.inputs, known, strict=True)
        if value is not None and item is not None
    }
    try:
        with np.errstate(all="ignore"):
            _demand_room(node, known)
            results = _by_reference(node, feeds, version)
    except UnsupportedOperator:
        raise
    except Exception as error:  # whatever a node that contradicts itself makes numpy raise
        try:
            results = _by_runtime(node, feeds, version)
        except Exception:  # ONNX Runtime raises kinds of its own
            raise UnsupportedOperator(
                f"{title(node)}: it cannot be computed from its constant inputs "
                f"({type(error).__name__})",
                hint="check the model with onnx.checker",
            ) from error
    for value, array in zip(node.outputs, results, strict=True):
        builder.bind(value, Constant(np.asarray(array)))


def _by_reference(node: ir.Node, feeds: dict[str, Array], version: int) -> Sequence[Any]:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(ir.serde.serialize_node(node), opsets={"": version})
    return list(evaluator.run(None, feeds))


def _by_runtime(node: ir.Node, feeds: dict[str, Array], version: int) -> Sequence[Any]:
    """Compute a node of which the reference implementation lacks a part, such as negative pads."""
    from onnx import helper, numpy_helper

    from edgeconv.export.runtimes import open_session

    names = [value.name or "" for value in node.outputs]
    graph = helper.make_graph(
        [ir.serde.serialize_node(node)],
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [numpy_helper.from_array(array, name) for name, array in feeds.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10
    )
    return list(open_session(model.SerializeToString()).run(names, {}))


def _demand_room(node: ir.Node, known: Sequence[Constant | None]) -> None:
    """Refuse a result that is too large to compute."""
    for value in node.outputs:
        if value.shape is not None and value.shape.is_static():
            demand_room(value.name, value.shape.numpy(), itemsize(value))
        # A shape may be stated wrong.
        if node.op_type in GROWN:
            inputs = [None if item is None else item.real() for item in known]
            numbers = GROWN[node.op_type](node, inputs)
            sizes = [int(number) for number in np.ravel(np.asarray(numbers))]
            demand_room(value.name, sizes, itemsize(value))
