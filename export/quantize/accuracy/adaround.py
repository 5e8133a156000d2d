"""AdaRound for a network: sample what its layers read, and let each learn (adaround_layer.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.graph_edit import GraphEditor, clamp_bounds
from edgeconv.export.quantize.accuracy.patches import can_be_sampled, sample_patches
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.integer_forms import is_accumulator
from edgeconv.export.quantize.layers import Layer, constant, grouped
from edgeconv.export.quantize.weights import QuantizedWeight
from edgeconv.progress import Progress

# Each layer learns from so many rows, out of so many batches at the most.
_ROWS = 1024
_BATCHES = 256
# Layers are sampled together as long as their rows fit into so many bytes.
_BYTES = 256_000_000


def adaptive_weights(
    current: CalibratedModel,
    batches: Batches | Sequence[Batch],
    progress: Progress,
    longer: int = 1,
    step: str = "Learning the rounding",
) -> dict[str, QuantizedWeight]:
    """Learn the rounding of all weights.

    The data is read once for each group of layers whose samples fit into ``_BYTES``. Memory grows
    with that and with the largest layer.

    Args:
        current: The network with its weights rounded to the nearest integer.
        batches: The data.
        progress: Called after every layer.
        longer: How many times as long as usual each layer learns.
        step: What this is called in the progress.

    Returns:
        The integer weights, by the layer's name. A layer that cannot be sampled keeps the nearest.
    """
    from edgeconv.export.quantize.accuracy.adaround_layer import Clamp, learn_rounding
    from edgeconv.export.threads import one_torch_thread

    weights, inputs = dict(current.weights), current.inputs
    editor = GraphEditor(current.model.graph)
    nodes = [
        node
        for node in current.model.graph
        if str(node.outputs[0].name) in weights and can_be_sampled(node)
    ]
    progress(step, 0, len(nodes))
    done = 0
    total = min(len(batches), _BATCHES)
    for group in _groups(nodes):
        some = islice(batches, _BATCHES)
        sampled = sample_patches(current.model, group, some, total, _ROWS)
        for node, patches in zip(group, sampled, strict=True):
            layer = Layer(editor, node)
            name = layer.name
            with one_torch_thread():
                weights[name] = learn_rounding(
                    node,
                    layer.weight,
                    layer.bias,
                    weights[name],
                    inputs[name],
                    patches,
                    Clamp(*clamp_after(node)),
                    longer,
                )
            done += 1
            progress(step, done, len(nodes))
    return weights


def _groups(nodes: list[ir.Node]) -> Iterator[list[ir.Node]]:
    group: list[ir.Node] = []
    used = 0
    for node in nodes:
        size = 4 * _ROWS * row_length(node)
        if group and used + size > _BYTES:
            yield group
            group, used = [], 0
        group.append(node)
        used += size
    if group:
        yield group


def row_length(node: ir.Node) -> int:
    """How many inputs one output of each group reads, for all groups together."""
    shape: tuple[int, ...] = grouped(node, constant(node, 1)).shape
    return shape[0] * shape[2] * shape[3]


def clamp_after(node: ir.Node) -> tuple[float, float]:
    """The bounds of the Relu or Clip that is fused into the layer; infinite without one."""
    value = node.outputs[0]
    bounds = clamp_bounds(value.consumers()[0]) if is_accumulator(value) else None
    return bounds or (-np.inf, np.inf)
