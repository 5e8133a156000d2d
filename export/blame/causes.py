"""Which tensor of a layer costs it most when it alone is rounded: an input, the weight, the output.

Each is measured at the layer's own output, where errors count as they do to what follows: that of
an input may be small against the input and large against what a convolution keeps of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeconv.export.blame.statistics import Float32, Ratio, round_trip
from edgeconv.export.blame.units import Unit
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.runtimes import session_options

WEIGHT, OUTPUT, ALL = "weight", "output", "all"


class Trial:
    """One layer cut out of the float graph, run with some of its tensors rounded to 8 bits."""

    def __init__(self, unit: Unit, draft: CalibratedModel, extractor: onnx.utils.Extractor) -> None:
        self._unit, self._parameters = unit, draft.activations
        proto = extractor.extract_model(list(unit.inputs), [unit.output])
        self._float = _session(proto)
        self._integer = self._float
        weight = draft.weights.get(str(unit.node.outputs[0].name))
        if weight is not None and unit.node.inputs[1] is not None:
            name = str(unit.node.inputs[1].name)
            kept = [tensor for tensor in proto.graph.initializer if tensor.name != name]
            del proto.graph.initializer[:]
            proto.graph.initializer.extend([*kept, onnx.numpy_helper.from_array(weight.real, name)])
            self._integer = _session(proto)
        # Inputs are counted: "input 0".
        causes = [*(input_name(index) for index in range(len(unit.inputs))), OUTPUT, ALL]
        if weight is not None:
            causes.append(WEIGHT)
        self._ratios = {cause: Ratio() for cause in causes}

    def add(self, activations: Mapping[str, Float32]) -> None:
        """``activations``: the float values of one batch, by name."""
        unit = self._unit
        inputs = {name: activations[name] for name in unit.inputs}
        rounded = {name: round_trip(inputs[name], self._parameters[name]) for name in inputs}
        expected = activations[unit.output]
        ratios, output = self._ratios, self._parameters[unit.output]
        for index, name in enumerate(unit.inputs):
            feed = {**inputs, name: rounded[name]}
            ratios[input_name(index)].add(expected, self._run(self._float, feed))
        if WEIGHT in ratios:
            ratios[WEIGHT].add(expected, self._run(self._integer, inputs))
        ratios[OUTPUT].add(expected, round_trip(expected, output))
        everything = self._run(self._integer, rounded)
        ratios[ALL].add(expected, round_trip(everything, output))

    def decibels(self) -> dict[str, float]:
        """SQNR of the layer's output by what alone is rounded; ALL for everything."""
        return {cause: ratio.db for cause, ratio in self._ratios.items()}

    def _run(self, session: ort.InferenceSession, feed: Mapping[str, Float32]) -> Float32:
        result: Float32 = session.run([self._unit.output], dict(feed))[0]
        return result


def input_name(index: int) -> str:
    return f"input {index}"


def trials(units: list[Unit], draft: CalibratedModel) -> list[Trial]:
    extractor = onnx.utils.Extractor(ir.to_proto(draft.model))
    return [Trial(unit, draft, extractor) for unit in units]


def _session(proto: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(
        proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
