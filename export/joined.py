"""Which elements of an output come from which part of a concatenation, or have another unit.

A detector joins boxes in pixels and scores in one tensor. Its ratio of signal to noise is that of
the boxes, whatever becomes of the scores, so that each part is looked at by itself. So is what a
network multiplies by factors far from the others, as the boxes of ``y * [640, 640, 640, 640, 1]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.graph_edit import known_array
from edgeconv.export.traits import Trait, operators
from edgeconv.export.zeros import Zeros

Array = npt.NDArray[Any]

# Where one factor is so many times another, the smaller part loses four of its eight bits.
_FAR = 16.0

_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Clip"}
_ELEMENTWISE = operators(Trait.FUNCTION) | _ARITHMETIC
# These join what they write to with what they write.
_SCATTERS = {"ScatterElements", "ScatterND"}
# These lay values over each other that are zero where another is not, as two Pads are.
_OVERLAYS = {"Add", "Sub", "Sum", "Max", "Min"}
_MOVES = operators(Trait.MOVES) | _SCATTERS | {"Pad"}
# What leaves each element of a part in the part: behind it a part may itself be joined.
_REARRANGES = operators(Trait.VIEWS) | {"Transpose", "Pad"}


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
    """The parts that are joined in ``output``; None without several.

    A Concat joins, and so does what writes to places, chooses by a constant, or adds what is zero
    at the place of any other. Behind it the elements may be moved, and changed one by one.
    """
    if output.dtype != ir.DataType.FLOAT or _shape(output) is None:
        return None
    nodes, leaves = trace(output, opset)
    names = tuple(dict.fromkeys(str(leaf.name) for leaf in leaves))
    if len(names) < 2:
        return None
    held = {leaf: np.full(_shape(leaf) or (), names.index(str(leaf.name))) for leaf in leaves}
    labels = _run(nodes, held, output, opset, _unchanged)
    present = sorted(set(labels.ravel().tolist()))  # a Slice may drop parts
    if len(present) < 2:
        return None
    return Parts(tuple(names[i] for i in present), np.searchsorted(present, labels))


def trace(output: ir.Value, opset: int) -> tuple[list[ir.Node], list[ir.Value]]:
    """The nodes from the parts to the output, in order, and the parts; none without a join."""
    nodes: list[ir.Node] = []
    leaves: list[ir.Value] = []
    seen: set[ir.Value] = set()
    joins = Joins(opset)

    # What is to be followed, and nodes whose inputs were; a chain may be thousands of nodes long.
    pending: list[tuple[ir.Value, bool] | ir.Node] = [(output, False)]
    while pending:
        last = pending.pop()
        if isinstance(last, ir.Node):
            nodes.append(last)
            continue
        value, joined = last
        if value in seen:
            continue
        seen.add(value)
        node = value.producer()
        if node is None or not (joins.later(node) if joined else joins.carries(node)):
            leaves.append(value)
            continue
        parts = joins.sources(node)
        pending.append(node)
        pending += [(part, joined or len(parts) > 1) for part in reversed(parts)]
    return list(dict.fromkeys(nodes)), leaves


class Joins:
    """Which operators join values, and which carry what was joined."""

    def __init__(self, opset: int) -> None:
        self._zeros = Zeros(opset)

    def sources(self, node: ir.Node) -> list[ir.Value]:
        """The inputs that elements of the result come from."""
        inputs = [value for value in node.inputs if value is not None]
        if node.op_type == "Concat":
            return inputs
        if node.op_type in _SCATTERS:
            return [inputs[0], inputs[2]]
        computed = [value for value in inputs if known_array(value) is None]
        if node.op_type == "Where":
            return computed
        return computed if node.op_type in _OVERLAYS and len(computed) > 1 else inputs[:1]

    def carries(self, node: ir.Node) -> bool:
        """Whether each element of the result comes from one of the data, and no other."""
        if node.domain or node.op_type not in _MOVES | _ELEMENTWISE | _OVERLAYS | {"Where"}:
            return False
        if any(_shape(each) is None for each in (*node.inputs, *node.outputs) if each is not None):
            return False
        if node.op_type == "Concat":
            return True
        if node.op_type in _SCATTERS:
            return self._writes(node)
        sources = self.sources(node)
        same = all(_shape(value) == _shape(node.outputs[0]) for value in sources)
        if node.op_type == "Where":
            chosen = node.inputs[0]
            return chosen is not None and known_array(chosen) is not None and same and bool(sources)
        if len(sources) > 1:
            return len(sources) == len(node.inputs) and same and self._zeros.apart(sources)
        if any(value is not None and value.const_value is None for value in node.inputs[1:]):
            return False
        return node.op_type in _MOVES or (same and node.op_type in _ELEMENTWISE)

    def later(self, node: ir.Node) -> bool:
        """Whether ``node`` rearranges what was joined before, or joins it."""
        while self.carries(node):
            sources = self.sources(node)
            if len(sources) > 1 and node.op_type not in _SCATTERS:
                return True
            producer = sources[0].producer()
            if producer is None or node.op_type not in _REARRANGES:
                return False
            node = producer
        return False

    def places(self, node: ir.Node) -> list[Array]:
        """For each input of what joins elements at the same places, where they are from it."""
        if node.op_type == "Where":
            chosen = node.inputs[0]
            assert chosen is not None
            array = known_array(chosen)
            assert array is not None
            return [array, ~array]
        return [self._zeros.may_differ(value) for value in self.sources(node)]

    def _writes(self, node: ir.Node) -> bool:
        """Whether what is written replaces what was there, or is added to zeros."""
        data, places = node.inputs[:2]
        if data is None or places is None or places.const_value is None:
            return False
        reduction = node.attributes.get_string("reduction", "none")
        return reduction == "none" or (
            reduction == "add" and not self._zeros.written_over(node).any()
        )


def is_elementwise(node: ir.Node) -> bool:
    """Whether ``node`` changes elements one by one, where :func:`trace` passes through it."""
    return node.op_type in _ELEMENTWISE


def _by_factor(output: ir.Value, opset: int) -> Parts | None:
    """The parts of ``output``, each once more apart where its factors are far from each other."""
    parts, shape = parts_of(output, opset), _shape(output)
    if output.dtype != ir.DataType.FLOAT or shape is None:
        return parts
    nodes, leaves = trace(output, opset)
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
        groups = far_apart(factors[where])
        labels[where] = len(names) + groups
        count = int(groups.max()) + 1
        sizes = [float(np.median(factors[where][groups == group])) for group in range(count)]
        names += [f"{name} × {size:.3g}" for size in sizes] if count > 1 else [name]
    return Parts(tuple(names), labels) if len(names) > 1 else None


def _is_scaling(node: ir.Node) -> bool:
    factor = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    return node.op_type in ("Mul", "Div") and factor is not None and factor.size > 1


def moved(output: ir.Value, opset: int, leaf: Array, *, scaled: bool) -> Array:
    """Move what stands for the elements of what is not joined to where these are in ``output``.

    Args:
        output: An output of which :func:`trace` finds one part.
        opset: The version of the operator set.
        leaf: What stands for the elements of that part.
        scaled: Whether it is multiplied as the elements are; behind a function it becomes 1.
    """
    nodes, (part,) = trace(output, opset)
    return _run(nodes, {part: leaf}, output, opset, _factor if scaled else _unchanged)


def far_apart(factors: Array) -> npt.NDArray[np.int64]:
    """The group of each factor, [elements], where a group ends at one that is far larger."""
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
    joins = Joins(opset)
    for node in nodes:
        result, sources = str(node.outputs[0].name), joins.sources(node)
        if node.op_type in _MOVES:
            protos.append(_moving(node))
            for value in node.inputs:
                if value is not None and value.const_value is not None:
                    held.setdefault(str(value.name), value.const_value.numpy())
            continue
        if len(sources) > 1:
            last = str(sources[-1].name)
            for index, (value, where) in enumerate(
                zip(sources[:-1], joins.places(node), strict=False)
            ):
                held[f"{result}/{index}/places"] = where
                name = f"{result}/{index}" if index < len(sources) - 2 else result
                names = [f"{result}/{index}/places", str(value.name), last]
                protos.append(helper.make_node("Where", names, [name]))
                last = name
            continue
        operator, operand = elementwise(node)
        names = [str(sources[0].name)]
        if operand is not None:
            names.append(f"{result}/operand")
            held[names[-1]] = operand
        protos.append(helper.make_node(operator, names, [result]))
    initializers = [numpy_helper.from_array(array, name) for name, array in held.items()]
    kind = helper.np_dtype_to_tensor_dtype(next(iter(leaves.values())).dtype)
    found = helper.make_tensor_value_info(str(output.name), kind, None)
    graph = helper.make_graph(protos, "moved", [], [found], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return np.asarray(next(iter(ReferenceEvaluator(model).run(None, {}))))


def _moving(node: ir.Node) -> onnx.NodeProto:
    """``node`` for what stands for elements: what a Pad adds is of the first part."""
    proto = ir.to_proto(node)
    if node.op_type == "Pad" and len(proto.input) > 2:
        proto.input[2] = ""
    if node.op_type in _SCATTERS:
        kept = [each for each in proto.attribute if each.name != "reduction"]
        del proto.attribute[:]
        proto.attribute.extend(kept)
    return proto


def _shape(value: ir.Value) -> tuple[int, ...] | None:
    dims = None if value.shape is None else value.shape.dims
    if dims is None or not all(isinstance(size, int) for size in dims):
        return None
    return tuple(int(size) for size in dims if isinstance(size, int))
