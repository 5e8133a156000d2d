"""What the readers of an activation can tell apart: beyond it, its integers may saturate.

A mask in front of a Softmax is -10000, -1e9, the lowest float32 or minus infinity. All of them mean
zero, and a scale that covered them would leave no steps for the scores. So the ranges that
calibration found are cut to what can change a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, all_values, constant_array
from edgeconv.export.quantize.calibration.calibrate import ranges_of
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.integer_forms import is_constant
from edgeconv.export.quantize.operators import Kind, kind_of
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize.plan import AT_THE_END
from edgeconv.export.quantize.plan import plan as make_plan
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod

# The finest step in which a probability is stored, that of int16.
_PROBABILITY_STEP = 1 / 32768
# A row of a Softmax whose greatest element is so far below that of others is masked as a whole. In
# a scale that covered both, one step would change a probability by a factor of e**8 or more.
_MASKED_ROW = 8.0 * 255
# Runtimes multiply and divide scales in float32; some end the process where that overflows.
_FARTHEST = 1e30
_LOWEST = float(np.finfo(np.float32).min)
_EVERYTHING = Range(-inf, inf)
_MAXIMA = {"ReduceMax", "MaxPool", "GlobalMaxPool"}
_MINIMA = {"ReduceMin"}


def operand_need(node: ir.Node, index: int, result: Range, other: Range) -> Range:
    """What an operand needs to cover, because beyond it the result saturates in any case.

    Args:
        node: An operator on elements; of any other than those below, an operand needs everything.
        index: The position of the operand.
        result: The range that the result is stored in.
        other: The range of the other operand, for operators with two.
    """
    match node.op_type, index:
        case ("Max" | "Min", _) | ("Where", 1 | 2):
            return result
        case "Add", _:
            return Range(result.low - other.high, result.high - other.low)
        case "Sub", 0:
            return Range(result.low + other.low, result.high + other.high)
        case "Sub", 1:
            return Range(other.low - result.high, other.high - result.low)
        case "Mul", _ if other.low == other.high > 0:
            return Range(result.low / other.low, result.high / other.low)
        case "Div", 0 if other.low == other.high > 0:
            return Range(result.low * other.low, result.high * other.low)
    return _EVERYTHING


def constant_range(value: ir.Value) -> Range:
    """The range of the finite elements of a constant; zero if it has none."""
    array = constant_array(value)
    finite = array[np.isfinite(array)]
    return Range(float(finite.min()), float(finite.max())) if finite.size else Range(0.0, 0.0)


class Watch:
    """What to observe of a network, and what of it the readers of each group can tell apart.

    Args:
        model: The float graph; it is not changed.
        options: How it is quantized.

    Attributes:
        plan: What becomes an integer.
        model: The graph to calibrate on.
        groups: The names of what to observe there, by the name of the group's representative.
        outputs: Those among them whose ranges are never clipped.
    """

    def __init__(self, model: ir.Model, options: QuantizeOptions) -> None:
        graph = model.graph
        self.plan = plan = make_plan(graph, options)
        self._members: dict[ir.Value, list[ir.Value]] = {}
        for value, root in plan.activations.items():
            self._members.setdefault(root, []).append(value)
        self._by_name = {str(value.name): value for value in plan.activations}
        self._roots = {str(root.name): root for root in self._members}
        self._inside = {
            node for node in graph if node not in plan.float_fallback and kind_of(node) is Kind.SAME
        }
        self.outputs = self._outputs(graph)
        self.model, self.groups = self._watched(model)

    def _watched(self, model: ir.Model) -> tuple[ir.Model, dict[str, list[str]]]:
        """Make the graph to calibrate on, and name what to observe of it for each group.

        Where nothing but a Softmax reads a group, what it can tell apart is observed in its place.
        Where a result is cut, minus infinity in an operand counts as the lowest float32.
        """
        watched = model.clone()
        editor = GraphEditor(watched.graph)
        values = {str(value.name): value for value in all_values(watched.graph)}
        groups = self.plan.groups()
        unknown = dict.fromkeys(groups, Range(-1.0, 1.0))
        for name, members in groups.items():
            root = self._roots[name]
            softmaxes = self._softmaxes(root)
            if softmaxes:
                groups[name] = [
                    _distinguished(editor, values[str(node.outputs[0].name)]) for node in softmaxes
                ]
                continue
            members = self._deciding(members)
            if self._need(root, unknown, frozenset()).low > -inf:
                members = [_finite(editor, values[member]) for member in members]
            groups[name] = members
        return watched, groups

    def _outputs(self, graph: ir.Graph) -> set[str]:
        """The outputs of the network, and the parts of those that become float one by one."""
        names = {str(value.name) for value in graph.outputs}
        for node, reason in self.plan.float_fallback.items():
            if reason == AT_THE_END:
                names |= {str(value.name) for value in node.inputs if value is not None}
        return names

    def ranges(self, observed: Observed, method: RangeMethod) -> dict[str, Range]:
        """The range of each group from what was observed, cut to what its readers distinguish."""
        return self.cut(ranges_of(self.groups, self.outputs, observed, method))

    def out_of_reach(self, ranges: Mapping[str, Range]) -> frozenset[str]:
        """Name the operators around activations whose ranges no scale should cover."""
        return frozenset(
            str(node.name)
            for value, root in self.plan.activations.items()
            if root not in self.plan.fixed and ranges[str(root.name)].reach > _FARTHEST
            for node in (value.producer(), *value.consumers())
            if node is not None
        )

    def cut(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """Cut the observed range of each group to what its readers can tell apart.

        All elements of a table that is looked up count as observed.
        """
        whole = {name: self._with_tables(self._roots[name], seen) for name, seen in ranges.items()}
        return {name: self._cut(self._roots[name], whole, frozenset()) for name in whole}

    def _with_tables(self, root: ir.Value, observed: Range) -> Range:
        """A range that reaches over the tables which members of a group are looked up in."""
        for value in () if self._softmaxes(root) else self._members[root]:
            node = value.producer()
            if node in self.plan.tables and node.inputs[0] is not None:
                observed = observed.union(constant_range(node.inputs[0]))
        return observed

    def _cut(
        self, root: ir.Value, ranges: Mapping[str, Range], pending: frozenset[ir.Value]
    ) -> Range:
        observed, need = ranges[str(root.name)], self._need(root, ranges, pending)
        low, high = np.clip([observed.low, observed.high], need.low, need.high)
        return Range(float(low), float(high))

    def _need(
        self, root: ir.Value, ranges: Mapping[str, Range], pending: frozenset[ir.Value]
    ) -> Range:
        """The need of a group. One that depends on itself needs everything."""
        if root in pending:
            return _EVERYTHING
        if self._softmaxes(root):
            return ranges[str(root.name)]
        need = None
        for node, index, value in self._readers(root):
            found = self._need_of(node, index, ranges, pending | {root})
            need = found if need is None else need.union(found)
            if value.is_graph_output() or need == _EVERYTHING:
                return _EVERYTHING
        if need is None or any(value.is_graph_output() for value in self._members[root]):
            return _EVERYTHING
        return need

    def _need_of(
        self,
        node: ir.Node,
        index: int,
        ranges: Mapping[str, Range],
        pending: frozenset[ir.Value],
    ) -> Range:
        result = self.plan.activations.get(node.outputs[0])
        if result is None or result in self.plan.fixed:
            return _EVERYTHING
        others = [v for i, v in enumerate(node.inputs[:2]) if i != index and v is not None]
        other = _EVERYTHING
        if others and is_constant(others[0]):
            other = constant_range(others[0])
        elif others and (found := self.plan.activations.get(others[0])) is not None:
            other = ranges.get(str(found.name), _EVERYTHING)
        if operand_need(node, index, Range(-1.0, 1.0), other) == _EVERYTHING:
            return _EVERYTHING
        return operand_need(node, index, self._cut(result, ranges, pending), other)

    def _deciding(self, members: list[str]) -> list[str]:
        """Leave out what only a maximum reads, which is observed itself, or only a minimum."""
        kept = []
        for member in members:
            value = self._by_name[member]
            readers = {node.op_type for node in value.consumers()}
            quantized = all(node in self._inside for node in value.consumers())
            extreme = any(readers and readers <= each for each in (_MAXIMA, _MINIMA))
            if not (extreme and quantized) or value.is_graph_output():
                kept.append(member)
        return kept

    def _softmaxes(self, root: ir.Value) -> list[ir.Node]:
        """The Softmaxes that read a group, if nothing else does."""
        nodes = [node for node, _, _ in self._readers(root)]
        outputs = any(value.is_graph_output() for value in self._members[root])
        only = all(node.op_type == "Softmax" and node.domain == "" for node in nodes)
        return nodes if only and not outputs else []

    def _readers(self, root: ir.Value) -> list[tuple[ir.Node, int, ir.Value]]:
        """The readers of a group apart from the operators inside of it."""
        return [
            (use.node, use.idx, value)
            for value in self._members[root]
            for use in value.uses()
            if use.node not in self._inside
        ]


def _distinguished(editor: GraphEditor, probabilities: ir.Value) -> str:
    """Add what a Softmax distinguishes of its input to a graph; returns the name.

    Elements so small that all of them together change no probability by a step are raised to that
    limit, and rows that are masked as a whole to the greatest element.
    """
    node = probabilities.producer()
    assert node is not None
    x = node.inputs[0]
    assert x is not None
    assert x.shape is not None
    axis = node.attributes.get_int("axis", -1)
    reach = log(2 * x.shape.numpy()[axis] / _PROBABILITY_STEP)
    make = _Maker(editor, node, f"{x.name}_distinguished")
    axes = editor.constant(f"{x.name}_axis", np.array([axis], np.int64))
    top = make("ReduceMax", x, axes)
    peak = make("ReduceMax", x)
    masked = make("Less", top, make("Sub", peak, make.number(_MASKED_ROW)), dtype=ir.DataType.BOOL)
    near = make("Max", x, make("Sub", top, make.number(reach)))
    return str(make("Where", masked, peak, near).name)


def _finite(editor: GraphEditor, value: ir.Value) -> str:
    """Add ``value`` with the lowest float32 in the place of minus infinity; returns the name."""
    reader = value.consumers()[0]
    make = _Maker(editor, reader, f"{value.name}_finite")
    return str(make("Max", value, make.number(_LOWEST)).name)


class _Maker:
    """Adds nodes in front of ``before``, with results under similar names."""

    def __init__(self, editor: GraphEditor, before: ir.Node, name: str) -> None:
        self._editor, self._before, self._name = editor, before, name

    def __call__(
        self, op_type: str, *inputs: ir.Value, dtype: ir.DataType = ir.DataType.FLOAT
    ) -> ir.Value:
        name = self._editor.free_name(self._name)
        node = ir.node(op_type, inputs, name=name)
        node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(dtype)
        self._editor.graph.insert_before(self._before, node)
        return node.outputs[0]

    def number(self, number: float) -> ir.Value:
        return self._editor.constant(f"{self._name}_number", np.float32(number))
