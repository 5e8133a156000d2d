"""Apply the rules of precision by layer to the nodes of a graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.export.layer_rules import (
    IN_FLOAT,
    ActivationZero,
    LayerChoices,
    LayerPrecision,
    WeightScales,
)
from edgeconv.export.quantize.integer_forms import is_accumulator, why_not_int16
from edgeconv.export.quantize.keep_float import named_nodes
from edgeconv.export.quantize.tables import coarse_tables
from edgeconv.export.quantize_options import QuantizeOptions


def with_choices(graph: ir.Graph, options: QuantizeOptions) -> QuantizeOptions:
    """Resolve the names that options state to those of nodes; the first matching rule counts.

    Args:
        graph: A float graph.
        options: How it is quantized.

    Raises:
        UsageError: A name matches nothing, or a layer cannot be what its rule says.
    """
    asked = set(named_nodes(graph, options.keep_float))
    in_float = asked | coarse_tables(graph)
    int16: set[str] = set()
    per_tensor: set[str] = set()
    symmetric: set[str] = set()
    decided = set(in_float)
    by_rule = []
    for rule in options.layers:
        names = named_nodes(graph, {rule.name}) - decided
        decided |= names
        by_rule.append((rule, tuple(sorted(names))))
        if rule.precision in IN_FLOAT:
            in_float |= names
            asked |= names
        if rule.precision is LayerPrecision.INT16:
            int16 |= names
        if rule.weights is WeightScales.PER_TENSOR:
            per_tensor |= names
        if rule.activations is ActivationZero.SYMMETRIC:
            symmetric |= names
    chosen = LayerChoices(
        with_clamps(graph, int16),
        frozenset(per_tensor),
        frozenset(symmetric),
        tuple(by_rule),
        frozenset(asked),
    )
    _refuse_without_int16(graph, chosen.int16)
    return replace(options, keep_float=frozenset(in_float), layers=(), chosen=chosen)


def with_clamps(graph: ir.Graph, names: Iterable[str]) -> frozenset[str]:
    """Add the other half of each layer that is fused with its Relu or Clip."""
    found = set(names)
    for node in graph:
        value = node.outputs[0]
        if is_accumulator(value):
            pair = {str(node.name), str(value.consumers()[0].name)}
            if pair & found:
                found |= pair
    return frozenset(found)


def _refuse_without_int16(graph: ir.Graph, int16: frozenset[str]) -> None:
    for node in graph:
        reason = why_not_int16(node) if node.name in int16 else None
        if reason is not None:
            raise UsageError(
                f"{node.name} ({node.op_type}) cannot be in int16: {reason}",
                hint='state precision = "float32" for it in a rule before',
            )
