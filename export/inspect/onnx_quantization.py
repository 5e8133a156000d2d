"""Which nodes of an ONNX graph compute in integers.

By the standard, a QDQ graph computes in float. A runtime runs a node in integers where its real
inputs come from DequantizeLinear and its results go to QuantizeLinear, the result of a convolution
also through one Relu or Clip. The file does not say whether that runtime has an integer kernel for
the operator, or computes between the two in float after all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from edgeconv.export.inspect.dtypes import QUANTIZED
from edgeconv.export.inspect.onnx_graph import Model, Node
from edgeconv.export.inspect.report import QuantizationReport, quantization_kind

_FUSED = {"Relu", "Clip"}
_CONVERSIONS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"}
# Integer operators: which inputs are their weights and the scales of those.
_WEIGHT_INPUT = {
    "QLinearConv": (3, 4),
    "QLinearMatMul": (3, 4),
    "QGemm": (3, 4),
    "ConvInteger": (1, None),
    "MatMulInteger": (1, None),
}


@dataclass
class Quantization:
    """What of a graph computes in integers.

    Attributes:
        report: The figures.
        constants: Names of constants, quantized and dequantized ones among them.
        fused: Names of tensors that are float by the standard and integers in a runtime.
        floats: The results of nodes that compute in float.
    """

    report: QuantizationReport
    constants: set[str] = field(default_factory=set)
    fused: set[str] = field(default_factory=set)
    floats: set[str] = field(default_factory=set)


def analyze(model: Model) -> Quantization:
    """Find out what computes in integers."""
    return _Analysis(model).result()


class _Analysis:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._readers: dict[str, list[Node]] = defaultdict(list)
        self._writer: dict[str, Node] = {}
        for node in model.nodes:
            for name in node.inputs:
                self._readers[name].append(node)
            for name in node.outputs:
                self._writer[name] = node
        self._outputs = {border.name for border in model.outputs}
        self._constants = set(model.constants)
        for node in model.nodes:
            converts = node.operator in ("QuantizeLinear", "DequantizeLinear")
            if converts and self._constants.issuperset(node.inputs[:1]):
                self._constants.update(node.outputs)
        self._integer: set[int] = set()
        self._floats: Counter[str] = Counter()
        self._float_results: set[str] = set()
        for node in model.nodes:
            self._sort(node)

    def result(self) -> Quantization:
        names = Counter(node.operator for node in self._model.nodes)
        weights = self._weights()
        activations = self._activations()
        report = QuantizationReport(
            kind=quantization_kind(
                bool(activations),
                bool(weights),
                bool(self._floats),
                dynamic=bool(names["DynamicQuantizeLinear"]),
            ),
            activations=tuple(sorted(activations)),
            per_channel_weights=sum(weights.values()),
            per_tensor_weights=len(weights) - sum(weights.values()),
            quantize=names["QuantizeLinear"] + names["DynamicQuantizeLinear"],
            dequantize=names["DequantizeLinear"],
            float_operators=dict(sorted(self._floats.items())) if activations or weights else {},
        )
        return Quantization(report, self._constants, self._fused(), self._float_results)

    def _is_float(self, name: str) -> bool:
        value = self._model.values.get(name)
        return value is not None and "float" in value.dtype

    def _sort(self, node: Node) -> None:
        """Note whether a node computes in integers or in float, if it computes at all."""
        real_inputs = [name for name in node.inputs if self._is_float(name)]
        real_outputs = [name for name in node.outputs if self._is_float(name)]
        constant = all(name in self._constants for name in node.outputs)
        if node.operator in _CONVERSIONS or constant or not (real_inputs or real_outputs):
            return
        if all(map(self._from_integer, real_inputs)) and all(map(self._to_integer, real_outputs)):
            self._integer.add(id(node))
        else:
            self._floats[node.operator] += 1
            self._float_results.update(node.outputs)

    def _from_integer(self, name: str) -> bool:
        if name in self._constants:
            return True
        writer = self._writer.get(name)
        if writer is None:
            return False
        fused = id(writer) in self._integer and writer.operator not in _FUSED
        return writer.operator == "DequantizeLinear" or fused

    def _to_integer(self, name: str, through: bool = True) -> bool:
        readers = self._readers.get(name, [])
        if not readers or name in self._outputs:
            return False
        return all(
            reader.operator == "QuantizeLinear"
            or (
                through
                and reader.operator in _FUSED
                and all(self._to_integer(result, through=False) for result in reader.outputs)
            )
            for reader in readers
        )

    def _fused(self) -> set[str]:
        """Tensors between DequantizeLinear, integer nodes and QuantizeLinear."""
        fused: set[str] = set()
        for node in self._model.nodes:
            if id(node) in self._integer:
                fused.update(name for name in node.outputs if self._is_float(name))
            elif node.operator == "DequantizeLinear" and not self._outputs & set(node.outputs):
                readers = [reader for name in node.outputs for reader in self._readers[name]]
                if all(id(reader) in self._integer for reader in readers):
                    fused.update(node.outputs)
        return fused

    def _activations(self) -> set[str]:
        """Integer types of the activations that are quantized with ranges known in advance."""
        found = set()
        for node in self._model.nodes:
            static = node.operator == "QuantizeLinear" or node.operator.startswith("QLinear")
            if static and node.outputs and node.outputs[0] not in self._constants:
                value = self._model.values.get(node.outputs[0])
                found.add(value.dtype if value else self._zero_point_type(node))
        return found

    def _zero_point_type(self, node: Node) -> str:
        """The type of the zero point; uint8, the standard's default, where there is none."""
        zero_point = self._model.constants.get(node.inputs[2] if len(node.inputs) > 2 else "")
        return zero_point.dtype if zero_point else "uint8"

    def _weights(self) -> dict[str, bool]:
        """Names of quantized weights, to whether they have a scale per channel."""
        weights = {}
        for node in self._model.nodes:
            data, scale = _WEIGHT_INPUT.get(node.operator, (0, 1))
            quantized = node.operator == "DequantizeLinear" or node.operator in _WEIGHT_INPUT
            if not quantized or len(node.inputs) <= max(data, scale or 0):
                continue
            name = node.inputs[data]
            value = self._model.values.get(name)
            if name in self._constants and value is not None and value.dtype in QUANTIZED:
                stated = node.inputs[scale] if scale is not None else self._scales_behind(node)
                scales = self._model.values.get(stated)
                weights[name] = scales is not None and scales.elements > 1
        return weights

    def _scales_behind(self, node: Node) -> str:
        """The factor that turns the sums of a ConvInteger or MatMulInteger into real numbers.

        A Mul behind the node, perhaps behind a Cast, multiplies by it. Empty where there is none.
        """
        for reader in self._readers[node.outputs[0]]:
            if reader.operator == "Cast":
                return self._scales_behind(reader)
            if reader.operator == "Mul":
                return next(name for name in reader.inputs if name != node.outputs[0])
        return ""
