"""Find where a network loses most in 8 bits, by what it gains when a neighborhood is in float.

The neighborhood of an activation is the operators that write and read it. The activation is in 8
bits as long as one of them is, and their weights are in float with it.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.plan import is_accumulator, plan


def keep_worst_in_float(current: CalibratedModel, judge: Judge, count: int) -> CalibratedModel:
    """Keep the ``count`` worst neighborhoods in float, but at most half of all."""
    neighborhoods = worst_neighborhoods(current, judge)
    chosen: frozenset[str] = frozenset().union(
        *neighborhoods[: min(count, len(neighborhoods) // 2)]
    )
    return keeping(current, chosen)


def worst_neighborhoods(current: CalibratedModel, judge: Judge) -> list[frozenset[str]]:
    """List the neighborhoods of all activations, as node names; the largest gain comes first."""
    decisions = plan(current.model.graph, current.options)
    neighborhoods = dict.fromkeys(_neighborhood(value) for value in decisions.activations)
    gains = {
        neighborhood: judge.sqnr_db(keeping(current, neighborhood).to_qdq()[0])
        for neighborhood in neighborhoods
    }
    return sorted(neighborhoods, key=lambda each: -gains[each])


def _neighborhood(value: ir.Value) -> frozenset[str]:
    nodes = list(value.consumers())
    producer = value.producer()
    while producer is not None:
        nodes.append(producer)
        x = producer.inputs[0] if producer.inputs else None
        producer = x.producer() if x is not None and is_accumulator(x) else None
    return frozenset(str(node.name) for node in nodes)


def keeping(current: CalibratedModel, names: frozenset[str]) -> CalibratedModel:
    """Leave the nodes of these names in float."""
    options = replace(current.options, keep_float=current.options.keep_float | names)
    weights = {
        str(node.outputs[0].name): current.weights[str(node.outputs[0].name)]
        for node in current.model.graph
        if node.name not in names and str(node.outputs[0].name) in current.weights
    }
    return replace(current, options=options, weights=weights)
