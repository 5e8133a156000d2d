"""Run the float graph, the graph with one layer in 8 bits, and the graph with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.blame.causes import Trial
from edgeconv.export.blame.statistics import Collector, Statistics
from edgeconv.export.blame.units import Unit, integer_values, only
from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.accuracy.held_out import float_outputs
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.float_layers import with_float_layers
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.metrics import Sqnr, worst_db


@dataclass(frozen=True)
class InPlace:
    """What one run of the float graph and of the graph with all layers in 8 bits shows.

    Attributes:
        decibels: SQNR of each layer's output in the integer graph, in the order of the layers.
        causes: For each layer, SQNR of its output by the tensor that was rounded.
        statistics: Those of every activation that a layer reads or writes, in float, by name.
    """

    decibels: list[float]
    causes: list[dict[str, float]]
    statistics: dict[str, Statistics]


class Meter:
    """Measures integer graphs against the float graph, on the same batches.

    Args:
        draft: The float graph, with the parameters of its 8-bit form.
        batches: The samples. They stay in memory, and so do the float graph's outputs for them.
    """

    def __init__(self, draft: CalibratedModel, batches: Sequence[Batch]) -> None:
        self._draft, self._batches = draft, batches
        self._outputs = float_outputs(draft.model)
        reference = IntermediateOutputs(draft.model, self._outputs)
        self._expected = list(reference.run_each(batches))

    def network_db(self, model: ir.Model) -> float:
        """SQNR of the worst output of a graph with the same inputs and outputs."""
        integers = IntermediateOutputs(with_float_layers(model), self._outputs)
        return worst_db(zip(self._expected, integers.run_each(self._batches), strict=True))

    def alone_db(self, unit: Unit) -> float:
        """SQNR of the network's worst output with only this layer in 8 bits."""
        return self.network_db(only(self._draft, unit))

    def in_place(self, units: list[Unit], integers: ir.Model) -> InPlace:
        """Measure every layer in one pass over the batches.

        Args:
            units: The layers.
            integers: The QDQ graph with all layers in 8 bits.
        """
        names = list(dict.fromkeys(name for unit in units for name in (*unit.inputs, unit.output)))
        rounded = integer_values(integers, names)
        reference = IntermediateOutputs(self._draft.model, names)
        in_8_bits = IntermediateOutputs(integers, [rounded[name] for name in names])
        ratios = dict.fromkeys(names, Sqnr())
        collectors = {name: Collector() for name in names}
        trials = [Trial(unit, self._draft) for unit in units]
        for batch in self._batches:
            expected = dict(zip(names, reference.run(batch), strict=True))
            for name, got in zip(names, in_8_bits.run(batch), strict=True):
                ratios[name] += Sqnr.between(expected[name], got)
                collectors[name].add(expected[name])
            for trial in trials:
                trial.add(expected)
        parameters = self._draft.activations
        return InPlace(
            [ratios[unit.output].db for unit in units],
            [trial.decibels() for trial in trials],
            {name: collectors[name].finish(parameters[name]) for name in names},
        )
