"""Where a network loses most to 8 bits: what it gains when one place stays in float."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeconv.export.quantize.accuracy.score import SqnrScorer
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.plan import is_accumulator, plan


def keep_worst_in_float(current: CalibratedModel, judge: SqnrScorer, count: int) -> CalibratedModel:
    """The draft with its ``count`` worst places in float, at most half of them."""
    places = worst_places(current, judge)
    chosen: frozenset[str] = frozenset().union(*places[: min(count, len(places) // 2)])
    return _keeping(current, chosen)


def worst_places(current: CalibratedModel, judge: SqnrScorer) -> list[frozenset[str]]:
    """Every activation's neighborhood, that which gains most dB in float first.

    A neighborhood is the operators that write and read the activation, for it is in 8 bits as long
    as one of them is; their weights are in float with it.
    """
    decisions = plan(current.model.graph, current.options.keep_float)
    places = dict.fromkeys(_neighborhood(value) for value in decisions.activations)
    gains = {place: judge.sqnr_db(_keeping(current, place).to_qdq()[0]) for place in places}
    return sorted(places, key=lambda place: -gains[place])


def _neighborhood(value: ir.Value) -> frozenset[str]:
    nodes = list(value.consumers())
    producer = value.producer()
    while producer is not None:
        nodes.append(producer)
        x = producer.inputs[0] if producer.inputs else None
        producer = x.producer() if x is not None and is_accumulator(x) else None
    return frozenset(str(node.name) for node in nodes)


def _keeping(current: CalibratedModel, names: frozenset[str]) -> CalibratedModel:
    options = replace(current.options, keep_float=current.options.keep_float | names)
    weights = {
        str(node.outputs[0].name): current.weights[str(node.outputs[0].name)]
        for node in current.model.graph
        if node.name not in names and str(node.outputs[0].name) in current.weights
    }
    return replace(current, options=options, weights=weights)
