"""Bias correction: subtract from a bias what quantization adds to the mean of the outputs.

The rounding of a channel's weights is the same for every input. So it moves the mean of the outputs
where the inputs have a mean other than zero, and so does saturation (Nagel et al. 2019,
arXiv:1906.04721, section 4.2; here the means are measured, as in their appendix D, not derived).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.export.quantize.layers import Layer
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

    Beside every layer of the float graph runs a twin that reads the same activation in 8 bits and
    has the integer weights. So one pass measures all layers, no layer sees the errors of another,
    and only the means leave the runtime. A MatMul has no bias to correct.

    Args:
        model: The float graph.
        layers: The integer weights, by the layer's name.
        inputs: The parameters of the activation that each layer reads, by the layer's name.
        batches: The data.

    Returns:
        The mean errors over each batch, [batches, outputs], by the layer's name.
    """
    twin = model.clone()
    editor = GraphEditor(twin.graph)
    names = {}
    for node in list(twin.graph):
        name = str(node.outputs[0].name)
        if name in layers and node.op_type != "MatMul":
            names[name] = _add_twin(editor, node, layers[name], inputs[name])
    if not names:
        return {}
    errors_of = IntermediateOutputs(twin, list(names.values()))
    rows: dict[str, list[Float64]] = {name: [] for name in names}
    for arrays in errors_of.run_each(batches):
        for name, array in zip(names, arrays, strict=True):
            each = array.reshape(*array.shape[:2], -1)
            rows[name].append(each.mean(axis=(0, 2), dtype=np.float64))
    return {name: np.stack(means) for name, means in rows.items()}


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


def _add_twin(
    editor: GraphEditor, node: ir.Node, weight: QuantizedWeight, parameters: ActivationParameters
) -> str:
    """Add the twin of a layer, and return the name of its error.

    The error is [N, C, 1…] for a convolution, averaged over the positions, and [N, C] for a Gemm.
    """
    prefix = f"{node.outputs[0].name}/twin"
    x = node.inputs[0]
    scale = editor.constant(f"{prefix}/scale", np.float32(parameters.scale))
    zero_point = editor.constant(f"{prefix}/zero_point", np.int8(parameters.zero_point))
    quantize = ir.node("QuantizeLinear", [x, scale, zero_point])
    dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], scale, zero_point])
    same = ir.node(
        node.op_type,
        [dequantize.outputs[0], editor.constant(f"{prefix}/weight", weight.real), *node.inputs[2:]],
        attributes=dict(node.attributes),
    )
    error = ir.node("Sub", [same.outputs[0], node.outputs[0]])
    added = [quantize, dequantize, same, error]
    if node.op_type != "Gemm":
        added.append(ir.node("GlobalAveragePool", [error.outputs[0]]))
    for index, part in enumerate(added):
        part.outputs[0].name = editor.free_name(f"{prefix}/{index}")
    editor.graph.insert_after(node, added)
    return str(added[-1].outputs[0].name)
