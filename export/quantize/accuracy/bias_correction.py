"""Bias correction: subtract from a bias what quantization adds to the mean of the outputs.

The rounding of a channel's weights is the same for every input. So it moves the mean of the outputs
where the inputs have a mean other than zero, and so does saturation (Nagel et al. 2019,
arXiv:1906.04721, section 4.2; here the means are measured, as in their appendix D, not derived).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize.accuracy.tap_sums import TapSums
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.export.quantize.layers import Layer, constant, grouped
from edgeconv.export.quantize.parameters import ActivationParameters
from edgeconv.export.quantize.weights import QuantizedWeight
from edgeconv.export.runtimes import IntermediateOutputs


def sample_errors(
    model: ir.Model,
    layers: Mapping[str, QuantizedWeight],
    inputs: Mapping[str, ActivationParameters],
    batches: Iterable[Batch],
) -> dict[str, Float64]:
    """Measure the mean error that each layer itself makes in each of its output channels.

    It is what the integer weights make of the activation in 8 bits, less what the layer computes.
    Both means follow from sums of what each element of a kernel reads, which the float graph
    computes beside its layers. So one pass measures all of them, no layer sees the errors of
    another, and no convolution runs twice. A MatMul has no bias to correct.

    Args:
        model: The float graph.
        layers: The integer weights, by the layer's name.
        inputs: The parameters of the activation that each layer reads, by the layer's name.
        batches: The data.

    Returns:
        The mean errors over each batch, [batches, outputs], by the layer's name.
    """
    graph = model.clone()
    editor = GraphEditor(graph.graph)
    rounded: dict[ir.Value, _Rounded] = {}
    found: dict[str, _Errors] = {}
    for node in list(graph.graph):
        name = str(node.outputs[0].name)
        if name in layers and node.op_type != "MatMul":
            x = Layer(editor, node).x
            if x not in rounded:
                rounded[x] = _Rounded.of(editor, node, inputs[name])
            found[name] = _Errors.of(node, layers[name], rounded[x])
    if not found:
        return {}
    sums = list(dict.fromkeys(name for each in found.values() for name in each.sums))
    rows: dict[str, list[Float64]] = {name: [] for name in sums}
    for arrays in IntermediateOutputs(graph, sums).run_each(batches):
        for name, array in zip(sums, arrays, strict=True):
            rows[name].append(array.mean(axis=0, dtype=np.float64))
    return {
        name: each.mean_of(*(np.stack(rows[name]) for name in each.sums))
        for name, each in found.items()
    }


def settled_mean(errors: Float64) -> Float64:
    """The mean over batches, [outputs], as far as it stands out from its own uncertainty.

    With few batches the mean of a channel is itself a guess. It is shrunk towards zero by the share
    of its square that its variance explains (the positive part of a James-Stein estimate).

    Args:
        errors: The mean error over each batch, [batches, outputs].
    """
    mean: Float64 = errors.mean(axis=0)
    if len(errors) == 1:
        return mean
    variance = errors.var(axis=0, ddof=1) / len(errors)
    square = mean**2
    explained = np.divide(variance, square, out=np.ones_like(mean), where=square > variance)
    shrunk: Float64 = mean * (1 - explained)
    return shrunk


def subtract(graph: ir.Graph, errors: Mapping[str, Float64]) -> None:
    """Subtract errors, [outputs] by the layer's name, from the biases, in place."""
    editor = GraphEditor(graph)
    for node in list(graph):
        error = errors.get(str(node.outputs[0].name))
        if error is not None:
            layer = Layer(editor, node)
            layer.set_bias(layer.bias - error)


@dataclass(frozen=True)
class _Rounded:
    """An activation in 8 bits, and what that changes of it, each with its sums."""

    integers: TapSums
    changes: TapSums

    @classmethod
    def of(cls, editor: GraphEditor, node: ir.Node, parameters: ActivationParameters) -> _Rounded:
        """Add both of what a layer reads before that layer."""
        x = Layer(editor, node).x
        prefix = f"{x.name}/rounded"
        scale = editor.constant(f"{prefix}/scale", np.float32(parameters.scale))
        zero_point = editor.constant(f"{prefix}/zero_point", np.int8(parameters.zero_point))
        quantize = ir.node("QuantizeLinear", [x, scale, zero_point])
        dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero_point])
        change = ir.node("Sub", [dequantize.outputs[0], x])
        for index, part in enumerate((quantize, dequantize, change)):
            part.outputs[0].name = editor.free_name(f"{prefix}/{index}")
        editor.graph.insert_before(node, (quantize, dequantize, change))
        return cls(TapSums(editor, dequantize.outputs[0]), TapSums(editor, change.outputs[0]))


@dataclass(frozen=True)
class _Errors:
    """How the error of a layer follows from sums over its positions.

    With w and x for weights and activation, and a stroke for what is rounded, w'x' - wx is
    (w' - w)x' + w(x' - x). Both parts are as small as the error, so that float32 sums are enough.

    Attributes:
        node: The layer.
        rounded: Its integer weights.
        sums: The names of the sums of the activation in 8 bits, and of what that changes of it.
    """

    node: ir.Node
    rounded: QuantizedWeight
    sums: tuple[str, str]

    @classmethod
    def of(cls, node: ir.Node, rounded: QuantizedWeight, x: _Rounded) -> _Errors:
        """Add the sums to the graph."""
        return cls(node, rounded, (x.integers.of(node), x.changes.of(node)))

    def mean_of(self, integers: Float64, changes: Float64) -> Float64:
        """The mean errors, [batches, outputs], from both sums, [batches, channels, …] each."""
        weight = constant(self.node, 1).astype(np.float64)
        by_weights = _products(grouped(self.node, self.rounded.real - weight), integers)
        by_activation = _products(grouped(self.node, weight), changes)
        shape = self.node.outputs[0].shape
        assert shape is not None
        mean: Float64 = (by_weights + by_activation) / math.prod(shape.numpy()[2:])
        return mean


def _products(weight: Float64, sums: Float64) -> Float64:
    """What a kernel, [groups, outputs, inputs, taps], makes of sums: [batches, outputs]."""
    groups, outputs = weight.shape[:2]
    read = sums.reshape(len(sums), groups, -1).transpose(1, 2, 0)
    product: Float64 = (weight.reshape(groups, outputs, -1) @ read).reshape(-1, len(sums)).T
    return product
