"""Run the float graph, the graph with one layer in 8 bits, and the graph with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.blame.causes import trials
from edgeconv.export.blame.statistics import Collector, Float32, Ratio, Statistics
from edgeconv.export.blame.units import Unit, integer_values, only
from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.runtimes import IntermediateOutputs


@dataclass(frozen=True)
class InPlace:
    """What one run of the float graph and of the graph with all layers in 8 bits tells.

    Attributes:
        decibels: SQNR of each layer's output in the integer graph, in the order of the layers.
        causes: for each layer, SQNR of its output by the tensor of it that alone is rounded.
        statistics: of every activation that a layer reads or writes, in float, by name.
    """

    decibels: list[float]
    causes: list[dict[str, float]]
    statistics: dict[str, Statistics]


class Meter:
    """Holds the batches, and what the float graph computes for them at its outputs."""

    def __init__(self, draft: CalibratedModel, batches: Sequence[Batch]) -> None:
        self._draft, self._batches = draft, batches
        self._outputs = [
            str(value.name)
            for value in draft.model.graph.outputs
            if value.dtype == ir.DataType.FLOAT
        ]
        reference = IntermediateOutputs(draft.model, self._outputs)
        self._expected = [reference.run(batch) for batch in batches]

    def network_db(self, model: ir.Model) -> float:
        """Of the worst output of a graph with the same inputs and outputs."""
        tap = IntermediateOutputs(model, self._outputs)
        ratios = [Ratio() for _ in self._outputs]
        for batch, expected in zip(self._batches, self._expected, strict=True):
            _add(ratios, expected, tap.run(batch))
        return min(ratio.db for ratio in ratios)

    def alone_db(self, unit: Unit) -> float:
        """Of the worst output, with only this layer in 8 bits."""
        return self.network_db(only(self._draft, unit))

    def in_place(self, units: list[Unit], integers: ir.Model) -> InPlace:
        """One pass over the batches."""
        names = list(dict.fromkeys(name for unit in units for name in (*unit.inputs, unit.output)))
        rounded = integer_values(integers, names)
        reference = IntermediateOutputs(self._draft.model, names)
        tap = IntermediateOutputs(integers, [rounded[name] for name in names])
        ratios = {name: Ratio() for name in names}
        collectors = {name: Collector() for name in names}
        tried = trials(units, self._draft)
        for batch in self._batches:
            expected = dict(zip(names, reference.run(batch), strict=True))
            for name, got in zip(names, tap.run(batch), strict=True):
                ratios[name].add(expected[name], got)
                collectors[name].add(expected[name])
            for trial in tried:
                trial.add(expected)
        parameters = self._draft.activations
        return InPlace(
            [ratios[unit.output].db for unit in units],
            [trial.decibels() for trial in tried],
            {name: collectors[name].finish(parameters[name]) for name in names},
        )


def _add(ratios: list[Ratio], expected: Sequence[Float32], got: Sequence[Float32]) -> None:
    for ratio, a, b in zip(ratios, expected, got, strict=True):
        ratio.add(a, b)
