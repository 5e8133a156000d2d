"""Which tensor of a layer costs it most when only that one is rounded: input, weight or output.

Each is measured at the layer's own output, where errors count as they do for the layers after it:
the error of an input may be small compared with the input, and large compared with what a
convolution keeps of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from edgeconv.export.blame.statistics import Float32
from edgeconv.export.blame.units import Unit
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.metrics import Sqnr

WEIGHT, OUTPUT, ALL = "weight", "output", "all"


class Trial:
    """One layer, extracted from the float graph and run with some of its tensors in 8 bits.

    Args:
        unit: The layer.
        draft: The float graph, with the parameters and integer weights of its layers.
    """

    def __init__(self, unit: Unit, draft: CalibratedModel) -> None:
        self._unit, self._parameters = unit, draft.activations
        graph = ir.convenience.extract(draft.model.graph, unit.inputs, [unit.output])
        layer = ir.Model(graph, ir_version=draft.model.ir_version)
        self._float = IntermediateOutputs(layer, [unit.output])
        self._integer = self._float
        weight = draft.weights.get(str(unit.node.outputs[0].name))
        if weight is not None and unit.node.inputs[1] is not None:
            name = str(unit.node.inputs[1].name)
            graph.initializers[name].const_value = ir.tensor(weight.real, name=name)
            self._integer = IntermediateOutputs(layer, [unit.output])
        # Inputs are counted: "input 0".
        causes = [*(input_name(index) for index in range(len(unit.inputs))), OUTPUT, ALL]
        if weight is not None:
            causes.append(WEIGHT)
        self._ratios = dict.fromkeys(causes, Sqnr())

    def add(self, activations: Mapping[str, Float32]) -> None:
        """Run the layer on one batch.

        Args:
            activations: The float values of the batch, by the activation's name.
        """
        unit = self._unit
        inputs = {name: activations[name] for name in unit.inputs}
        rounded = {name: self._parameters[name].round_trip(inputs[name]) for name in inputs}
        expected = activations[unit.output]
        ratios, output = self._ratios, self._parameters[unit.output]
        for index, name in enumerate(unit.inputs):
            feed = {**inputs, name: rounded[name]}
            ratios[input_name(index)] += Sqnr.between(expected, _run(self._float, feed))
        if WEIGHT in ratios:
            ratios[WEIGHT] += Sqnr.between(expected, _run(self._integer, inputs))
        ratios[OUTPUT] += Sqnr.between(expected, output.round_trip(expected))
        everything = _run(self._integer, rounded)
        ratios[ALL] += Sqnr.between(expected, output.round_trip(everything))

    def decibels(self) -> dict[str, float]:
        """SQNR of the layer's output by the tensor that was rounded; ALL for all of them."""
        return {cause: ratio.db for cause, ratio in self._ratios.items()}


def input_name(index: int) -> str:
    """The name of input ``index`` of a layer as a cause of noise."""
    return f"input {index}"


def _run(layer: IntermediateOutputs, inputs: dict[str, Float32]) -> Float32:
    """The layer's output. ``inputs`` are in the layer's order."""
    return layer.run(list(inputs.values()))[0]
