"""Find where a network loses most in 8 bits, by what it gains when a neighborhood is in float.

The neighborhood of an activation is the operators that write and read it. The activation is in 8
bits as long as one of them is, and their weights are in float with it.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_forms import is_accumulator
from edgeconv.export.quantize.layers import Layer, has_bias, is_weighted
from edgeconv.export.quantize.plan import plan


def keep_worst_in_float(
    current: CalibratedModel, uncorrected: ir.Model, judge: Judge, count: int
) -> CalibratedModel:
    """Keep the ``count`` worst neighborhoods in float, but at most half of all.

    Args:
        current: The network.
        uncorrected: Its float graph without bias correction, which would be an error in float.
        judge: Measures it.
        count: How many neighborhoods.
    """
    neighborhoods = worst_neighborhoods(current, uncorrected, judge)
    chosen: frozenset[str] = frozenset().union(
        *neighborhoods[: min(count, len(neighborhoods) // 2)]
    )
    return in_float(current, uncorrected, chosen)


def worst_neighborhoods(
    current: CalibratedModel, uncorrected: ir.Model, judge: Judge
) -> list[frozenset[str]]:
    """List the neighborhoods of all activations, as node names; the largest gain comes first."""
    decisions = plan(current.model.graph, current.options)
    neighborhoods = dict.fromkeys(_neighborhood(value) for value in decisions.activations)
    gains = {
        neighborhood: judge.sqnr_db(in_float(current, uncorrected, neighborhood).to_qdq()[0])
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


def in_float(
    current: CalibratedModel, uncorrected: ir.Model, names: frozenset[str]
) -> CalibratedModel:
    """Leave the nodes of these names in float, with the biases that they have without correction.

    The other layers keep theirs: what they read has the same scale as before, and a corrected bias
    makes up for nothing but the layer's own error.

    Args:
        current: The network.
        uncorrected: Its float graph without bias correction, which would be an error in float.
        names: The nodes.
    """
    return keeping(_with_biases(current, uncorrected, names), names)


def _with_biases(
    current: CalibratedModel, source: ir.Model, names: frozenset[str]
) -> CalibratedModel:
    """Take the biases of the layers of these names from another graph of the same network."""
    layers = {
        str(node.name): node for node in source.graph if node.name in names and is_weighted(node)
    }
    model = current.model.clone()
    editor = GraphEditor(model.graph)
    for node in list(model.graph):
        other = layers.get(str(node.name))
        # A MatMul has no bias, and correction adds one where a layer has none.
        if other is not None and has_bias(node):
            Layer(editor, node).set_bias(Layer(GraphEditor(source.graph), other).bias)
    return replace(current, model=model)


def keeping(current: CalibratedModel, names: frozenset[str]) -> CalibratedModel:
    """Leave the nodes of these names in float."""
    options = replace(current.options, keep_float=current.options.keep_float | names)
    weights = {
        str(node.outputs[0].name): current.weights[str(node.outputs[0].name)]
        for node in current.model.graph
        if node.name not in names and str(node.outputs[0].name) in current.weights
    }
    return replace(current, options=options, weights=weights)
