"""Full-integer quantization: a float ONNX graph becomes a QDQ ONNX graph, once for all formats."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import UsageError
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.quantize.calibrate import Batch, Batches, Progress, calibrate
from edgeconv.export.quantize.insert import Inserter
from edgeconv.export.quantize.io import apply_io
from edgeconv.export.quantize.options import (
    ActivationType,
    QuantizeOptions,
    RangeMethod,
    Rounding,
)
from edgeconv.export.quantize.plan import plan

__all__ = [
    "ActivationType",
    "Batch",
    "QuantizeOptions",
    "QuantizedModel",
    "RangeMethod",
    "Rounding",
    "apply_io",
    "quantize",
]


DEFAULTS = QuantizeOptions()


@dataclass(frozen=True)
class QuantizedModel:
    """The QDQ graph, and which nodes stayed in float: "name (operator): reason" each."""

    model: ir.Model
    left_in_float: tuple[str, ...]


def quantize(
    model: ir.Model,
    batches: Batches,
    options: QuantizeOptions = DEFAULTS,
    progress: Progress = lambda step, done, total: None,
) -> QuantizedModel:
    """Quantize a copy of a float graph with ranges from calibration batches.

    Args:
        model: an optimized float graph with static shapes.
        batches: for each batch, one float32 array per graph input; passes may go through them
            several times.

    Raises:
        UsageError: nothing in the network can be quantized.
        DataError: an activation is NaN or infinite.
    """
    model = model.clone()
    BatchNormToDepthwise()(model)
    common.RemoveUnusedNodesPass()(model)
    decisions = plan(model.graph)
    if not decisions.activations:
        raise UsageError("the network has no operator that int8 covers; use --precision float32")
    names = [str(value.name) for value in decisions.activations]
    ranges = calibrate(model, names, batches, progress)
    Inserter(model, decisions.parameters(ranges), options.activation_type.value).run(decisions)
    common.RemoveUnusedNodesPass()(model)
    left = tuple(
        f"{node.name} ({node.op_type}): {reason}"
        for node, reason in decisions.left_in_float.items()
    )
    return QuantizedModel(model, left)
