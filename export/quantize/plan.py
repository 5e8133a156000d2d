"""Plan which activations become integers, and which of them share scale and zero point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from edgeconv.export.graph_edit import ASKED, KEPT, LOSES
from edgeconv.export.known_nodes import known_nodes
from edgeconv.export.quantize.float_streams import float_streams
from edgeconv.export.quantize.integer_forms import (
    TABLE,
    data_inputs,
    fused_output,
    is_accumulator,
    is_constant,
    reason_for_float,
)
from edgeconv.export.quantize.operators import (
    OPERATORS,
    FixedRange,
    Kind,
    kind_of,
)
from edgeconv.export.quantize.parameters import (
    ActivationParameters,
    Range,
    activation_parameters,
)
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.export.traits import Trait, operators

DEFAULTS = QuantizeOptions()
FLOAT = ir.DataType.FLOAT
# Through these a NaN or an infinity reaches the result.
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Where", "Softmax"}
_MOVES = operators(Trait.MOVES)
_PASSES_INFINITY = _ELEMENTWISE | _MOVES


# Steps that the fixed scale of a Softmax, 1/256, has from 0 to 1.
_SHARES = 256
_NOT_FINITE = "integers have no NaN and no infinity, which the network asks for behind it"
_ISLAND = "it lies between operators in float, and integers would only round it"
_STREAM = "operators in float read or write it, and integers would cost as much and round it"
_FINER = "its result is an output, which may be finer than the steps of 1/256 that int8 has"
_KNOWN = "all of its inputs are constant"
_FLAT = "it shares 1 among more elements than the 256 steps that int8 has for them"
AT_THE_END = "its parts are outputs, each in a scale of its own"


@dataclass(frozen=True)
class Part:
    """A group that a Concat reads.

    Attributes:
        root: Its representative.
        other_readers: How many operators read it that are no Concats and compute something new.
    """

    root: ir.Value
    other_readers: int

    def joins(self, own: Range, whole: Range) -> bool:
        """Whether it is more exact in the scale of the Concat than in one of its own.

        In that scale, coarser by a ratio r, the noise of its rounding grows by r² for each of its
        readers. In its own scale it is rounded a second time, which adds r² for the Concat alone.

        Args:
            own: The range of the part.
            whole: The range of the Concat and all of its parts.
        """
        others = self.other_readers
        return others * whole.span**2 <= (others + 1) * own.span**2


@dataclass
class Plan:
    """The result of planning.

    Attributes:
        activations: The values to quantize, each with its representative. Values with the same
            representative share scale and zero point.
        fixed: The representatives whose parameters the specification sets.
        float_fallback: The nodes without an integer form, each with the reason.
        joins: The parts of each Concat that may share its scale, by the Concat's representative.
        symmetric: The representatives whose zero point has to be 0.
        tables: The nodes that look up elements of a constant, which becomes an integer itself.
    """

    activations: dict[ir.Value, ir.Value] = field(default_factory=dict)
    fixed: dict[ir.Value, FixedRange] = field(default_factory=dict)
    float_fallback: dict[ir.Node, str] = field(default_factory=dict)
    joins: dict[ir.Value, list[Part]] = field(default_factory=dict)
    symmetric: set[ir.Value] = field(default_factory=set)
    tables: set[ir.Node] = field(default_factory=set)

    def groups(self) -> dict[str, list[str]]:
        """List the activations that share scale and zero point, by the name of the representative.

        Activations whose parameters the specification sets are left out.
        """
        groups: dict[str, list[str]] = {}
        for value, representative in self.activations.items():
            if representative not in self.fixed:
                groups.setdefault(str(representative.name), []).append(str(value.name))
        return groups

    def parameters(self, ranges: Mapping[str, Range]) -> dict[ir.Value, ActivationParameters]:
        """Scale and zero point of every activation, from the ranges of the groups.

        The parts of a Concat join its group where that costs other readers of them little, and of
        several Concats that read a part those whose range is near that of the narrowest.
        """
        fixed = {
            root: ActivationParameters(each.scale, each.zero_point)
            for root, each in self.fixed.items()
        }
        own = {
            root: fixed[root].range if root in fixed else ranges[str(root.name)]
            for root in dict.fromkeys(self.activations.values())
        }
        joined = _UnionFind()
        for part, root in _shared(self.joins, own):
            joined.join(part, root)
        families: dict[ir.Value, list[ir.Value]] = {}
        for root in own:
            families.setdefault(joined.find(root), []).append(root)
        chosen = {}
        for family in families.values():
            # A Sigmoid beside a convolution takes the range of both: its own would clip.
            stated = {fixed.get(root) for root in family if root not in self.joins}
            common = stated.pop() if len(stated) == 1 else None
            if common is None:
                whole = own[family[0]]
                for root in family[1:]:
                    whole = whole.union(own[root])
                centered = not self.symmetric.isdisjoint(family)
                common = activation_parameters(whole, symmetric=centered)
            chosen.update(dict.fromkeys(family, common))
        return {value: chosen[root] for value, root in self.activations.items()}


def _shared(
    joins: Mapping[ir.Value, Sequence[Part]], own: Mapping[ir.Value, Range]
) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Yield each part that shares the scale of a Concat, with that Concat.

    Args:
        joins: The parts of each Concat.
        own: The range of every group.
    """
    wholes: dict[ir.Value, Range] = {}
    narrowest: dict[ir.Value, Range] = {}
    for root, parts in joins.items():
        whole = own[root]
        for part in parts:
            whole = whole.union(own[part.root])
        wholes[root] = whole
        for part in parts:
            known = narrowest.setdefault(part.root, whole)
            narrowest[part.root] = min(known, whole, key=lambda each: each.span)
    for root, parts in joins.items():
        for part in parts:
            alone = part.other_readers == 0 or part.joins(own[part.root], wholes[root])
            # What reads a narrower Concat of the same part would lose in the scale of this one.
            between = Part(part.root, 1).joins(narrowest[part.root], wholes[root])
            if alone and between:
                yield part.root, root


def plan(graph: ir.Graph, options: QuantizeOptions = DEFAULTS) -> Plan:
    """Plan the quantization of a float graph with static shapes.

    Args:
        graph: The graph.
        options: How it is quantized. Unless outputs have to be integers, the parts of a Concat at
            the end of the network become float one by one.
    """
    result = Plan()
    keep_float = options.keep_float
    at_end = _ending(graph)
    ending = set() if options.integer_outputs else at_end
    concats: list[ir.Node] = []
    shared = _UnionFind()
    wanted: dict[ir.Value, None] = {}
    stated = {each.name: FixedRange(each.scale, each.zero_point) for each in options.input_integers}
    fixed = {value: stated[value.name] for value in graph.inputs if value.name in stated}
    sources: list[ir.Value] = list(graph.inputs)
    not_finite = _may_decide_by_infinity(graph)
    reasons: dict[ir.Node, str] = {}
    known = known_nodes(graph)
    for node in graph:
        operator = OPERATORS.get(node.op_type) if node.domain == "" else None
        reasons[node] = _KNOWN if node in known else reason_for_float(node, operator)
        if node in not_finite:
            reasons[node] = _NOT_FINITE
        if operator is not None and node not in at_end and _shares_are_lost(node):
            reasons[node] = _FLAT
        if node in ending:
            reasons[node] = _FINER if node.op_type == "Softmax" else AT_THE_END
        if node.name in keep_float and operator is not None:
            reasons[node] = ASKED if node.name in options.chosen.asked else LOSES
    reasons.update(dict.fromkeys(_islands(reasons), _ISLAND))
    reasons.update(dict.fromkeys(_streams(reasons, options, known), _STREAM))
    # They are integers for their size, wherever their rows go.
    result.tables = {node for node, reason in reasons.items() if reason == TABLE}
    reasons.update(dict.fromkeys(result.tables, ""))
    for node, reason in reasons.items():
        operator = OPERATORS.get(node.op_type)
        if operator is None or reason:
            result.float_fallback[node] = reason or ""
            sources += node.outputs
            continue
        inputs = [value for value in data_inputs(node, operator) if not is_constant(value)]
        outputs = [value for value in node.outputs if value.name and value.dtype == FLOAT]
        for value in (*inputs, *outputs):
            # A clamp that stays in float cannot be fused: it reads a result in 8 bits.
            if not is_accumulator(value) or value.consumers()[0].name in keep_float:
                wanted[value] = None
        if node.op_type == "Concat":
            concats.append(node)
            sources += outputs
        elif node in result.tables:
            sources += outputs
        elif kind_of(node) is Kind.SAME:
            for value in (*inputs, *outputs[1:]):
                shared.join(outputs[0], value)
        else:
            sources += outputs
        if operator.fixed is not None:
            fixed[outputs[0]] = operator.fixed
    result.activations = {value: shared.find(value) for value in wanted}
    result.joins = _joins(result, concats)
    result.symmetric = _symmetric(graph, result, options)
    found: dict[ir.Value, set[FixedRange | None]] = {}
    for value in sources:
        found.setdefault(shared.find(value), set()).add(fixed.get(value))
    result.fixed = {
        representative: parameters
        for representative, (parameters, *others) in found.items()
        if parameters is not None and not others
    }
    return result


def _streams(
    reasons: Mapping[ir.Node, str], options: QuantizeOptions, known: set[ir.Node]
) -> Iterator[ir.Node]:
    """Yield the operators with an integer form that cost no more in float.

    They are the same whatever else the user asked to keep in float.
    """
    integers = {node for node, reason in reasons.items() if reason in ("", *KEPT)}
    # A clamp that is fused with a sum would be an operator of its own.
    movable = {
        node
        for node in integers
        if node.name not in options.chosen.int16 and not any(map(is_accumulator, node.outputs))
    }
    # Where the outputs are integers the inputs are, too.
    streams = float_streams(integers, movable, known, float_inputs=not options.integer_outputs)
    yield from (node for node in streams if not reasons[node])


def _shares_are_lost(node: ir.Node) -> bool:
    """Whether a Softmax is over so many elements that their mean is less than a step of 1/256."""
    shape = node.inputs[0].shape if node.op_type == "Softmax" and node.inputs[0] else None
    if shape is None:
        return False
    size = shape[node.attributes.get_int("axis", -1)]
    return isinstance(size, int) and size > _SHARES


def _islands(reasons: Mapping[ir.Node, str]) -> Iterator[ir.Node]:
    """Yield the operators that read and write nothing but what is computed in float.

    In integers they would only be rounded, between a QuantizeLinear and a DequantizeLinear. What
    hangs together is judged together, and weights are worth it; but not those between a transform
    and its inverse, because a spectrum has a few large values and the others would be lost.
    Operators that the user asked to keep in float count as integers, so that each of them can be
    judged by itself.

    Args:
        reasons: Why each node of the graph is in float, in its order; empty for integers.
    """
    regions = _UnionFind()
    inner = [node for node, reason in reasons.items() if reason in ("", *KEPT)]
    worth: set[ir.Value] = set()
    weighted: set[ir.Value] = set()
    outside_spectra: set[ir.Value] = set()
    for node in inner:
        operator = OPERATORS[node.op_type]
        for value in data_inputs(node, operator):
            producer = value.producer()
            if producer is None and not is_constant(value):
                worth.add(node.outputs[0])
            elif producer is not None and reasons[producer] in ("", *KEPT):
                regions.join(producer.outputs[0], node.outputs[0])
            elif producer is not None and producer.op_type != "DFT":
                outside_spectra.add(node.outputs[0])
        readers = [user for value in node.outputs for user in value.consumers()]
        if any(user.op_type != "DFT" and reasons.get(user) not in ("", *KEPT) for user in readers):
            outside_spectra.add(node.outputs[0])
        if operator.kind is Kind.WEIGHTED:
            weighted.add(node.outputs[0])
        if any(value.is_graph_output() for value in node.outputs):
            worth.add(node.outputs[0])
    ordinary = {regions.find(value) for value in outside_spectra}
    worth |= {value for value in weighted if regions.find(value) in ordinary}
    kept = {regions.find(value) for value in worth}
    for node in inner:
        if not reasons[node] and regions.find(node.outputs[0]) not in kept:
            yield node


def _ending(graph: ir.Graph) -> set[ir.Node]:
    """The Concats and Softmaxes that only outputs read, and what moves their elements there."""
    moving: set[ir.Node] = set()
    for node in reversed(graph):
        readers = [user for value in node.outputs for user in value.consumers()]
        fits = node.op_type in _MOVES or node.op_type == "Softmax"
        if fits and node.domain == "" and all(user in moving for user in readers):
            moving.add(node)
    ending: set[ir.Node] = set()
    for node in graph:
        sources = {value.producer() for value in node.inputs if value is not None}
        if node in moving and (node.op_type in ("Concat", "Softmax") or sources & ending):
            ending.add(node)
    return ending


def _symmetric(graph: ir.Graph, result: Plan, options: QuantizeOptions) -> set[ir.Value]:
    """The representatives of what the layers write that shall have a zero point of 0."""
    if not options.chosen.symmetric:
        return set()
    written = [
        fused_output(value)
        for node in graph
        if node.name in options.chosen.symmetric
        for value in node.outputs
    ]
    return {result.activations[value] for value in written if value in result.activations}


def _joins(result: Plan, concats: list[ir.Node]) -> dict[ir.Value, list[Part]]:
    """The parts of each Concat, by its representative."""
    others: Counter[ir.Value] = Counter()
    for value, root in result.activations.items():
        for user in value.consumers():
            operator = OPERATORS.get(user.op_type)
            inside = operator is not None and kind_of(user) is Kind.SAME
            others[root] += not inside or user in result.float_fallback
        others[root] += value.is_graph_output()
    joins: dict[ir.Value, list[Part]] = {}
    for node in concats:
        roots = [result.activations[value] for value in node.inputs if value in result.activations]
        parts = joins.setdefault(result.activations[node.outputs[0]], [])
        parts += [Part(root, others[root]) for root in dict.fromkeys(roots)]
    return joins


def _may_decide_by_infinity(graph: ir.Graph) -> set[ir.Node]:
    """The operators that may make the NaN or the infinity that an IsNaN or IsInf asks for."""
    pending = [node.inputs[0] for node in graph if node.op_type in ("IsNaN", "IsInf")]
    found: set[ir.Node] = set()
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if node is not None and node not in found and node.op_type in _PASSES_INFINITY:
            found.add(node)
            pending += node.inputs
    return found


class _UnionFind:
    """Disjoint sets of values."""

    def __init__(self) -> None:
        self._parent: dict[ir.Value, ir.Value] = {}

    def find(self, value: ir.Value) -> ir.Value:
        parent = self._parent.setdefault(value, value)
        if parent is not value:
            parent = self._parent[value] = self.find(parent)
        return parent

    def join(self, a: ir.Value, b: ir.Value) -> None:
        self._parent[self.find(a)] = self.find(b)
