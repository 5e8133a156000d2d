"""Which elements of an output come from which part of a concatenation, or have another unit.

A detector joins boxes in pixels and scores in one tensor. Its ratio of signal to noise is that of
the boxes, whatever becomes of the scores, so that each part is looked at by itself. So is what a
network multiplies by factors far from the others, as the boxes of ``y * [640, 640, 640, 640, 1]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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

# Where one factor is so many times another, the smaller part loses four of its eight bits.
_FAR = 16.0

_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Clip"}
_ELEMENTWISE = operators(Trait.FUNCTION) | _ARITHMETIC
# These join what they write to with what they write.
_SCATTERS = {"ScatterElements", "ScatterND"}
_MOVES = operators(Trait.MOVES) | _SCATTERS
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
    return [_by_factor(output, opset) for output in graph.outputs]


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
    held = {leaf: np.full(_shape(leaf) or (), names.index(str(leaf.name))) for leaf in leaves}
    labels = _run(nodes, held, output, opset, _unchanged)
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
        is_join = node.op_type in _SCATTERS | {"Concat"}
        for part in _joined_by(node):
            if part is not None:
                follow(part, joined=joined or is_join)
        nodes.append(node)

    follow(output, joined=False)
    return list(dict.fromkeys(nodes)), leaves


def _joined_by(node: ir.Node) -> Sequence[ir.Value | None]:
    """The inputs that elements of the result come from."""
    if node.op_type == "Concat":
        return node.inputs
    return (node.inputs[0], node.inputs[2]) if node.op_type in _SCATTERS else node.inputs[:1]


def _carries(node: ir.Node) -> bool:
    """Whether each element of the result comes from one of the data, and nothing but constants."""
    if node.domain or node.op_type not in _MOVES | _ELEMENTWISE:
        return False
    if any(_shape(value) is None for value in (*node.inputs, *node.outputs) if value is not None):
        return False
    if node.op_type == "Concat":
        return True
    if node.op_type in _SCATTERS:
        places = node.inputs[1]
        plain = node.attributes.get_string("reduction", "none") == "none"
        return plain and places is not None and places.const_value is not None
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


def _by_factor(output: ir.Value, opset: int) -> Parts | None:
    """The parts of ``output``, each once more apart where its factors are far from each other."""
    parts, shape = parts_of(output, opset), _shape(output)
    if output.dtype != ir.DataType.FLOAT or shape is None:
        return parts
    nodes, leaves = trace(output)
    if not any(_is_scaling(node) for node in nodes):
        return parts
    ones = {leaf: np.ones(_shape(leaf) or ()) for leaf in leaves}
    factors = _run(nodes, ones, output, opset, _factor)
    if parts is None:
        parts = Parts((str(leaves[0].name),), np.zeros(shape, np.int64))
    names: list[str] = []
    labels = np.zeros_like(parts.labels)
    for index, name in enumerate(parts.names):
        where = parts.labels == index
        groups = _groups(factors[where])
        labels[where] = len(names) + groups
        count = int(groups.max()) + 1
        sizes = [float(np.median(factors[where][groups == group])) for group in range(count)]
        names += [f"{name} × {size:.3g}" for size in sizes] if count > 1 else [name]
    return Parts(tuple(names), labels) if len(names) > 1 else None


def _is_scaling(node: ir.Node) -> bool:
    factor = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    return node.op_type in ("Mul", "Div") and factor is not None and factor.size > 1


def _groups(factors: Array) -> npt.NDArray[np.int64]:
    """The group of each factor, where a group ends at one that is far larger."""
    found, group = np.unique(factors, return_inverse=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = found[1:] >= _FAR * found[:-1]
    steps: npt.NDArray[np.int64] = np.cumsum(np.concatenate([[0], far]))[group.reshape(-1)]
    return steps


def _unchanged(node: ir.Node) -> tuple[str, Array | None]:
    """A label stays whatever is done to its element."""
    return "Identity", None


def _factor(node: ir.Node) -> tuple[str, Array | None]:
    """What the factors of elements are multiplied by; behind a function they say nothing."""
    if node.op_type in ("Mul", "Div"):
        second = node.inputs[1]
        assert second is not None
        assert second.const_value is not None
        return node.op_type, np.abs(second.const_value.numpy().astype(np.float64))
    return ("Identity", None) if node.op_type in _ARITHMETIC else ("Pow", np.zeros(()))


def _run(
    nodes: list[ir.Node],
    leaves: dict[ir.Value, Array],
    output: ir.Value,
    opset: int,
    elementwise: Callable[[ir.Node], tuple[str, Array | None]],
) -> Array:
    """Move what stands for the elements of the parts as the elements are moved.

    Args:
        nodes: What lies between the parts and the output.
        leaves: What stands for the elements of each part.
        output: The output.
        opset: The version of the operator set.
        elementwise: The operator, and its second operand, in place of one that changes elements.
    """
    held = {str(leaf.name): array for leaf, array in leaves.items()}
    protos: list[onnx.NodeProto] = []
    for node in nodes:
        first, result = node.inputs[0], node.outputs[0]
        assert first is not None
        if node.op_type in _MOVES:
            protos.append(ir.to_proto(node))
            for value in node.inputs:
                if value is not None and value.const_value is not None:
                    held.setdefault(str(value.name), value.const_value.numpy())
            continue
        operator, operand = elementwise(node)
        names = [str(first.name)]
        if operand is not None:
            names.append(f"{result.name}/operand")
            held[names[-1]] = operand
        protos.append(helper.make_node(operator, names, [str(result.name)]))
    initializers = [numpy_helper.from_array(array, name) for name, array in held.items()]
    kind = helper.np_dtype_to_tensor_dtype(next(iter(leaves.values())).dtype)
    found = helper.make_tensor_value_info(str(output.name), kind, None)
    graph = helper.make_graph(protos, "moved", [], [found], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return np.asarray(next(iter(ReferenceEvaluator(model).run(None, {}))))


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    dims = None if value.shape is None else value.shape.dims
    if dims is None or not all(isinstance(size, int) for size in dims):
        return None
    return tuple(int(size) for size in dims if isinstance(size, int))
