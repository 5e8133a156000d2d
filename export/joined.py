"""Which elements of an output come from which part of a concatenation.

A detector joins boxes in pixels and scores in one tensor. Its ratio of signal to noise is that of
the boxes, whatever becomes of the scores, so that each part is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.traits import Trait, operators

Array = npt.NDArray[Any]

_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Clip"}
_ELEMENTWISE = operators(Trait.FUNCTION) | _ARITHMETIC
_MOVES = operators(Trait.MOVES)
# What leaves each element of a part in the part: behind it a part may itself be joined.
_REARRANGES = operators(Trait.VIEWS) | {"Transpose", "Concat"}


@dataclass(frozen=True)
class Parts:
    """The parts of a joined output.

    Attributes:
        names: The names of the values that are joined, each once.
        labels: For each element of the output, the index of its part.
    """

    names: tuple[str, ...]
    labels: npt.NDArray[np.int64]

    def of(self, stacked: Array) -> Iterator[tuple[str, Array]]:
        """Yield each part of an output, whose last dimensions are those of ``labels``."""
        for index, name in enumerate(self.names):
            yield name, stacked[..., self.labels == index]


def joined_outputs(graph: ir.Graph, opset: int) -> list[Parts | None]:
    """Find the parts of every output; None where it is not joined.

    Args:
        graph: A float graph with static shapes.
        opset: The version of its operator set.
    """
    return [parts_of(output, opset) for output in graph.outputs]


def parts_of(output: ir.Value, opset: int) -> Parts | None:
    """The parts that Concats put into ``output``; None without a Concat of several.

    Behind a Concat the elements may be moved, and changed one by one.
    """
    if output.dtype != ir.DataType.FLOAT or _shape(output) is None:
        return None
    nodes, leaves = trace(output)
    names = tuple(dict.fromkeys(str(leaf.name) for leaf in leaves))
    if len(names) < 2:
        return None
    labels = _run(nodes, {leaf: names.index(str(leaf.name)) for leaf in leaves}, output, opset)
    present = sorted(set(labels.ravel().tolist()))  # a Slice may drop parts
    if len(present) < 2:
        return None
    return Parts(tuple(names[i] for i in present), np.searchsorted(present, labels))


def trace(output: ir.Value) -> tuple[list[ir.Node], list[ir.Value]]:
    """The nodes from the parts to the output, in order, and the parts; none without a Concat."""
    nodes: list[ir.Node] = []
    leaves: list[ir.Value] = []
    seen: set[ir.Value] = set()

    def follow(value: ir.Value, *, joined: bool) -> None:
        if value in seen:
            return
        seen.add(value)
        node = value.producer()
        if node is None or not (_joins_later(node) if joined else _carries(node)):
            leaves.append(value)
            return
        is_join = node.op_type == "Concat"
        for part in node.inputs if is_join else node.inputs[:1]:
            if part is not None:
                follow(part, joined=joined or is_join)
        nodes.append(node)

    follow(output, joined=False)
    return list(dict.fromkeys(nodes)), leaves


def _carries(node: ir.Node) -> bool:
    """Whether each element of the result comes from one of the data, and nothing but constants."""
    if node.domain or node.op_type not in _MOVES | _ELEMENTWISE:
        return False
    if any(_shape(value) is None for value in (*node.inputs, *node.outputs) if value is not None):
        return False
    if node.op_type == "Concat":
        return True
    if any(value is not None and value.const_value is None for value in node.inputs[1:]):
        return False
    first = node.inputs[0]
    same = first is not None and _shape(first) == _shape(node.outputs[0])
    return node.op_type in _MOVES or same


def is_elementwise(node: ir.Node) -> bool:
    """Whether ``node`` changes elements one by one, where :func:`trace` passes through it."""
    return node.op_type in _ELEMENTWISE


def _joins_later(node: ir.Node) -> bool:
    """Whether ``node`` rearranges what an earlier Concat joined."""
    while node.op_type in _REARRANGES and _carries(node):
        if node.op_type == "Concat":
            return True
        producer = node.inputs[0].producer() if node.inputs[0] is not None else None
        if producer is None:
            return False
        node = producer
    return False


def _run(
    nodes: list[ir.Node], leaves: dict[ir.Value, int], output: ir.Value, opset: int
) -> npt.NDArray[np.int64]:
    """Move labels instead of elements."""
    held = [
        numpy_helper.from_array(np.full(_shape(leaf) or (), label, np.int64), leaf.name)
        for leaf, label in leaves.items()
    ]
    known = {initializer.name for initializer in held}
    protos: list[onnx.NodeProto] = []
    for node in nodes:
        if node.op_type in _MOVES:
            protos.append(ir.to_proto(node))
            constants = [
                value
                for value in node.inputs
                if value is not None and value.const_value is not None
            ]
        else:
            first = node.inputs[0]
            assert first is not None
            protos.append(
                helper.make_node("Identity", [str(first.name)], [str(node.outputs[0].name)])
            )
            constants = []
        for value in constants:
            if value.name not in known:
                assert value.const_value is not None
                known.add(str(value.name))
                held.append(numpy_helper.from_array(value.const_value.numpy(), value.name))
    result = helper.make_tensor_value_info(str(output.name), onnx.TensorProto.INT64, None)
    graph = helper.make_graph(protos, "labels", [], [result], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    labels: npt.NDArray[np.int64] = np.asarray(next(iter(ReferenceEvaluator(model).run(None, {}))))
    return labels


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    dims = None if value.shape is None else value.shape.dims
    if dims is None or not all(isinstance(size, int) for size in dims):
        return None
    return tuple(int(size) for size in dims if isinstance(size, int))
