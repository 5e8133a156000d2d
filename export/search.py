"""Search precision by layer: what each block loses in int8, and what it costs to leave it.

A block is a region of the network. Its noise is what the outputs lose with this block alone in
int8 and everything else in float. Neighbors that each lose the same value both show it that way,
and leave int8 together. Blocks leave in the order of noise per cost, for float32 or for int16. The
networks on that way are measured as a whole, on samples that nothing was fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import onnx_ir as ir

from edgeconv.export.blame.units import find_units
from edgeconv.export.data.samples import Batches
from edgeconv.export.inspect.macs import node_macs, static_shape
from edgeconv.export.layer_rules import LayerPrecision, LayerRule
from edgeconv.export.precision.int16_islands import with_islands
from edgeconv.export.quantize import fit_to_half
from edgeconv.export.quantize.accuracy.candidates import interface
from edgeconv.export.quantize.accuracy.escalation import Assess, Attempt, Budget
from edgeconv.export.quantize.accuracy.judge import Judge, worst_db
from edgeconv.export.quantize.accuracy.reaching import Reaching
from edgeconv.export.quantize.accuracy.sensitivity import keeping
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_forms import why_not_int16
from edgeconv.export.quantize.layer_choices import with_clamps
from edgeconv.export.quantize.plan import plan
from edgeconv.export.quantize.room import with_room
from edgeconv.export.quantize_options import QuantizeOptions
from edgeconv.metrics import POOR_SQNR_DB
from edgeconv.progress import Progress

# Each block takes one measurement. Deeper networks have larger blocks.
_MOST_BLOCKS = 64
# How many blocks leave int8 on the steps of the way; all of them on the last one.
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
# How many samples say what a block loses; the networks on the way are measured on all.
_SAMPLES = 8
# Measured on other samples and without bias correction, a network may do better by this.
_MARGIN_DB = 1.0
_STEP = "Searching precision by layer"

Names = frozenset[str]


@dataclass(frozen=True)
class FrontPoint:
    """A network on the front of accuracy against cost.

    Attributes:
        name: How many blocks left int8, and for what, as "3 of 8 in float32".
        rules: What its layers are made of; none of it is the plain int8 network.
        sqnr_db: The SQNR on samples that it was not fitted to, without bias correction.
        extra_bytes: By how much the weights are larger than in int8.
        outside: The share of the work that is not in int8: of multiplications and results.
    """

    name: str
    rules: tuple[LayerRule, ...]
    sqnr_db: float
    extra_bytes: int
    outside: float

    def dominates(self, other: FrontPoint) -> bool:
        """Whether it is at least as good in everything, and better in something."""
        mine = (-self.sqnr_db, self.extra_bytes, self.outside)
        theirs = (-other.sqnr_db, other.extra_bytes, other.outside)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


@dataclass(frozen=True)
class _Block:
    """A region.

    Attributes:
        nodes: The names of its nodes, in the order of the graph.
        bytes: How many bytes its weights take in int8.
        work: How much it computes: multiplications and results.
    """

    nodes: tuple[str, ...]
    bytes: int
    work: int


def find_front(
    graph: ir.Model,
    batches: Batches,
    options: QuantizeOptions,
    *,
    int16: bool,
    progress: Progress,
) -> tuple[FrontPoint, ...]:
    """Find what accuracy costs, from the least accurate network to the most accurate one.

    What the options state of layers stays as it is, and what they want repaired is not.

    Args:
        graph: An optimized float graph.
        batches: The calibration data. One half is fitted to, and the other one judges.
        options: How to quantize.
        int16: Whether layers may have activations of 16 bits.
        progress: Called with (step, done, total).
    """
    current, judge = fit_to_half(graph, batches, options, progress)
    return _Search(current, judge, progress).front(int16=int16)


class _Search:
    def __init__(self, current: CalibratedModel, judge: Judge, progress: Progress) -> None:
        self._current, self._judge, self._progress = current, judge, progress
        self._nodes = {str(node.name): node for node in current.model.graph}
        self._work = sum(map(_work, self._nodes.values()))
        self._blocks = self._find_blocks()
        self._samples = Reaching(judge, current.to_qdq()[0]).samples
        self._done = self._total = 0

    def front(self, *, int16: bool) -> tuple[FrontPoint, ...]:
        count = len(self._blocks)
        steps = [*(step for step in _STEPS if step < count), count]
        ways = [LayerPrecision.FLOAT32, *([LayerPrecision.INT16] if int16 else [])]
        self._total = count + 1 + len(steps) * len(ways)
        ordered = self._ordered()
        points = [self._point((), LayerPrecision.INT8)]
        for precision in ways:
            chosen = [ordered[:step] for step in steps if count]
            points += [
                self._point(each, precision) for each in chosen if self._fits(each, precision)
            ]
        front = [p for p in points if not any(other.dominates(p) for other in points)]
        return tuple(sorted(front, key=lambda point: point.sqnr_db))

    def _ordered(self) -> list[_Block]:
        """The blocks, with the one first that loses most for what it costs."""
        bytes_all = sum(block.bytes for block in self._blocks) or 1
        worth = {}
        for block in self._blocks:
            others = frozenset(self._nodes) - set(block.nodes)
            noise = 10 ** (-self._sqnr_db(others, most=_SAMPLES) / 10)
            # Even what computes nothing has to be converted at its edges.
            cost = block.work / self._work + block.bytes / bytes_all + 1 / len(self._nodes)
            worth[block] = noise / cost
        return sorted(self._blocks, key=lambda block: -worth[block])

    def _point(self, blocks: Sequence[_Block], precision: LayerPrecision) -> FrontPoint:
        in_float, int16 = self._divided(blocks, precision)
        rules = [LayerRule(name=n, precision=LayerPrecision.FLOAT32) for n in sorted(in_float)]
        rules += [LayerRule(name=n, precision=LayerPrecision.INT16) for n in sorted(int16)]
        total = len(self._blocks)
        name = f"{len(blocks)} of {total} in {precision.value}" if blocks else "all in int8"
        return FrontPoint(
            name,
            tuple(rules),
            self._sqnr_db(in_float, int16),
            3 * sum(self._bytes(node) for node in in_float),
            self._outside(in_float, int16),
        )

    def _fits(self, blocks: Sequence[_Block], precision: LayerPrecision) -> bool:
        """Whether anything is an integer still: otherwise it is the float32 network."""
        in_float, _ = self._divided(blocks, precision)
        kept = keeping(self._current, in_float)
        return bool(plan(kept.model.graph, kept.options).activations)

    def _divided(self, blocks: Sequence[_Block], precision: LayerPrecision) -> tuple[Names, Names]:
        """The nodes in float and in int16; what has no int16 form is in float."""
        nodes = frozenset(name for block in blocks for name in block.nodes)
        if precision is LayerPrecision.FLOAT32:
            return nodes, frozenset()
        without = [name for name in nodes if why_not_int16(self._nodes[name]) is not None]
        in_float = with_clamps(self._current.model.graph, without)
        return in_float, nodes - in_float

    def _sqnr_db(
        self, in_float: Names, int16: Names = frozenset(), *, most: int | None = None
    ) -> float:
        """What is kept over so many samples, with those first that lose most in int8."""
        kept = keeping(self._current, in_float)
        model = kept.to_qdq()[0]
        left = self._left(kept)
        if wide := (int16 | kept.options.chosen.int16) - left:
            model = with_islands(model, wide, left, with_room(kept).activations)
        found = worst_db(self._judge.measuring(model)(self._samples[:most]))
        self._done += 1
        self._progress(_STEP, self._done, self._total)
        return found

    def _outside(self, in_float: Names, int16: Names) -> float:
        """The share of the work that is not in int8, with what is in float or int16 in any case."""
        kept = keeping(self._current, in_float)
        names = self._left(kept) | int16 | kept.options.chosen.int16
        return sum(_work(self._nodes[name]) for name in names) / self._work

    @staticmethod
    def _left(kept: CalibratedModel) -> Names:
        """The names of the nodes that are in float."""
        left = plan(kept.model.graph, kept.options).float_fallback
        return frozenset(str(node.name) for node in left)

    def _find_blocks(self) -> list[_Block]:
        """The layers that may leave int8, a few neighbors together where there are many."""
        regions = self._regions()
        size = ceil(len(regions) / _MOST_BLOCKS) or 1
        return [
            self._block([name for region in regions[at : at + size] for name in region])
            for at in range(0, len(regions), size)
        ]

    def _block(self, names: Sequence[str]) -> _Block:
        nodes = tuple(name for name in self._nodes if name in set(names))
        work = sum(_work(self._nodes[name]) for name in nodes)
        return _Block(nodes, sum(map(self._bytes, nodes)), work)

    def _regions(self) -> list[list[str]]:
        """Each layer, with the operators behind it that only move its values."""
        graph, options = self._current.model.graph, self._current.options
        fixed = {name for _, names in options.chosen.by_rule for name in names}
        if options.integer_outputs:
            fixed |= interface(graph)
        regions = [list(unit.members) for unit in find_units(self._current)]
        owners = {name: region for region in regions for name in region}
        left = plan(graph, options).float_fallback
        for node in graph:
            x = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
            owner = None if x is None else owners.get(str(x.name))
            if node not in left and str(node.name) not in owners and owner is not None:
                owner.append(str(node.name))
                owners[str(node.name)] = owner
        return [region for region in regions if not fixed & set(region)]

    def _bytes(self, name: str) -> int:
        weight = self._current.weights.get(str(self._nodes[name].outputs[0].name))
        return 0 if weight is None else int(weight.integers.size)


def _work(node: ir.Node) -> int:
    shapes = map(static_shape, node.outputs)
    return (node_macs(node) or 0) + sum(prod(shape) for shape in shapes if shape is not None)


def along_front(
    plain: Attempt, front: Sequence[FrontPoint], budget: Budget, assess: Assess
) -> list[Attempt]:
    """Export one network of the front after the other until one meets the budget.

    The one with the least work outside int8 comes first. Where limits of size or latency stand
    alone, int8 that keeps to them stays as it is, unless it keeps little and a network of the front
    does not.

    Args:
        plain: The network without precision by layer.
        front: The front.
        budget: What to reach.
        assess: Quantizes with the options, and measures the result.

    Returns:
        The attempts after the plain one, none if that is to be kept. The last one meets the budget,
        or none does.
    """
    aim, without_repair = _aim(plain, budget)
    if aim is None:
        return []
    attempts: list[Attempt] = []
    if without_repair is not None:
        attempt = Attempt.of("without repair", without_repair, budget, assess(without_repair))
        attempts.append(attempt)
        if attempt.met:
            return attempts
    for point in _in_turn(plain, front, aim):
        options = replace(plain.options, layers=(*plain.options.layers, *point.rules))
        attempts.append(Attempt.of(point.name, options, budget, assess(options)))
        if aim.met_by(attempts[-1].figures):
            return attempts
    if plain.met and attempts:
        attempts.append(Attempt.of(plain.name, plain.options, budget, assess(plain.options)))
    return attempts


def most_along_front(plain: Attempt, front: Sequence[FrontPoint], budget: Budget) -> int:
    """How many attempts :func:`along_front` makes if none meets the budget before the last."""
    aim, without_repair = _aim(plain, budget)
    if aim is None:
        return 0
    points = len(_in_turn(plain, front, aim))
    return (without_repair is not None) + points + (1 if plain.met and points else 0)


def _aim(plain: Attempt, budget: Budget) -> tuple[Budget | None, QuantizeOptions | None]:
    """What the networks of the front have to reach, None if the plain one is to be kept.

    Beside it stand the options to try before them, if what repair left in float may be too much.
    """
    if budget.asks_for_accuracy:
        return None if plain.met else budget, None
    if plain.met and (not budget.limits_cost or plain.figures.sqnr_db >= POOR_SQNR_DB):
        return None, None
    if budget.met_by(replace(plain.figures, keeps_nothing=False)):
        return replace(budget, min_sqnr_db=POOR_SQNR_DB), None
    return budget, replace(plain.options, repair=False) if plain.figures.repaired else None


def _in_turn(plain: Attempt, front: Sequence[FrontPoint], budget: Budget) -> list[FrontPoint]:
    """The points that may meet the budget, in the order to try them."""
    points = [point for point in front if point.rules]
    if budget.max_bytes is not None:
        room = budget.max_bytes - plain.figures.bytes
        points = [point for point in points if point.extra_bytes <= room]
    points.sort(key=lambda point: (point.outside, point.extra_bytes))
    if budget.min_sqnr_db is not None:
        least = budget.min_sqnr_db - _MARGIN_DB
        promising = [point for point in points if point.sqnr_db >= least]
        # Where none promises enough, the most accurate one says what can be reached.
        return promising or sorted(points, key=lambda point: point.sqnr_db)[-1:]
    return points
