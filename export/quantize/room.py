"""Ranges of 16-bit activations, which have room for values that calibration did not see.

With steps 256 times finer than those of int8, what saturates costs more than what is rounded: rare
values that a range for 8 bits clips, and those of a new sample that exceed it. Part of the fineness
is given away for that (benchmarks/results/int16_ranges.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import inf

import onnx_ir as ir

from edgeconv.export.graph_edit import clamp_bounds
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.calibration.ranges import choose_range
from edgeconv.export.quantize.calibration.ranges.histogram import Histogram
from edgeconv.export.quantize.integer_forms import is_constant
from edgeconv.export.quantize.needs import Watch, constant_range
from edgeconv.export.quantize.operators import Kind, kind_of
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize.plan import Plan
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.export.traits import Trait, operators

# How many times as far as calibration saw them values may reach.
_ROOM = 2.0
# Steps stay so many times finer than those of int8, however far a single sample reached.
_FINER = 16.0
_EVERYTHING = Range(-inf, inf)
_KEEPS_RANGE = operators(Trait.KEEPS_RANGE)
_JOINS = operators(Trait.JOINS)


def with_room(fitted: CalibratedModel) -> CalibratedModel:
    """The same network with ranges for activations of 16 bits.

    A range reaches no further than the bounds of the Clip that writes the activation. Weights and
    biases stay as they are.
    """
    watch = Watch(fitted.model, fitted.options)
    bounds = _bounds(watch.plan)
    ranges = {
        name: _clipped(
            _roomy(fitted.activations[name].range, fitted.seen.get(name, ())),
            bounds.get(name, _EVERYTHING),
        )
        for name in watch.groups
    }
    parameters = watch.plan.parameters(watch.cut(ranges))
    return replace(
        fitted, activations={str(value.name): each for value, each in parameters.items()}
    )


def _roomy(in_8_bits: Range, seen: Sequence[Histogram]) -> Range:
    limit = in_8_bits.reach * (256 / _FINER)
    whole = choose_range(RangeMethod.MINMAX, seen) if seen else in_8_bits
    return Range(max(whole.low * _ROOM, -limit), min(whole.high * _ROOM, limit))


def _clipped(own: Range, bound: Range) -> Range:
    return Range(
        min(max(own.low, bound.low), bound.high),
        max(min(own.high, bound.high), bound.low),
    )


def _bounds(decisions: Plan) -> Mapping[str, Range]:
    """What the values of each group cannot exceed, by the name of its representative."""
    found: dict[str, Range] = {}
    for value, root in decisions.activations.items():
        bound = _bound(value.producer(), decisions, found)
        if bound is not None:
            name = str(root.name)
            found[name] = found[name].union(bound) if name in found else bound
    return found


def _bound(producer: ir.Node | None, decisions: Plan, groups: Mapping[str, Range]) -> Range | None:
    """What a result cannot exceed; None where that follows from the others of its group.

    Args:
        producer: The node that writes it; None for an input of the network.
        decisions: What becomes an integer.
        groups: The bounds of the groups that were found before.
    """
    if producer is None:
        return _EVERYTHING
    if producer in decisions.tables and producer.inputs[0] is not None:
        return constant_range(producer.inputs[0])
    in_integers = producer not in decisions.float_fallback
    if in_integers and kind_of(producer) is Kind.SAME and producer.op_type not in _JOINS:
        return None
    if producer.op_type in _KEEPS_RANGE and producer.domain == "":
        count = len(producer.inputs) if producer.op_type in _JOINS else 1
        sources = (value for value in producer.inputs[:count] if value is not None)
        return reduce(Range.union, (_of_value(value, decisions, groups) for value in sources))
    bounds = clamp_bounds(producer)
    return _EVERYTHING if bounds is None else Range(*bounds)


def _of_value(value: ir.Value, decisions: Plan, groups: Mapping[str, Range]) -> Range:
    if is_constant(value):
        return constant_range(value)
    root = decisions.activations.get(value)
    return _EVERYTHING if root is None else groups.get(str(root.name), _EVERYTHING)
