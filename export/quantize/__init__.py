"""Full-integer quantization: a float ONNX graph becomes a QDQ ONNX graph, once for all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import UsageError
from edgeconv.export.passes.batch_norm import BatchNormToDepthwise
from edgeconv.export.quantize.calibrate import Batch, calibrate
from edgeconv.export.quantize.insert import Inserter
from edgeconv.export.quantize.io import apply_io
from edgeconv.export.quantize.plan import plan

__all__ = ["ActivationType", "Batch", "QuantizedModel", "apply_io", "quantize"]


class ActivationType(str, Enum):
    """How the ONNX file stores 8-bit activations: the same integers, shifted by 128.

    ONNX Runtime fuses uint8 whole on x86 and runs both well on ARM.
    """

    UINT8 = "uint8"
    INT8 = "int8"


@dataclass(frozen=True)
class QuantizedModel:
    """The QDQ graph, and which nodes stayed in float: "name (operator): reason" each."""

    model: ir.Model
    left_in_float: tuple[str, ...]


def quantize(
    model: ir.Model,
    batches: Iterable[Batch],
    *,
    activation_type: ActivationType = ActivationType.UINT8,
    progress: Callable[[int], None] = lambda _: None,
) -> QuantizedModel:
    """Quantize a copy of a float graph with ranges from calibration batches.

    Args:
        model: an optimized float graph with static shapes.
        batches: for each batch, one float32 array per graph input.

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
    Inserter(model, decisions.parameters(ranges), activation_type.value).run(decisions)
    common.RemoveUnusedNodesPass()(model)
    left = tuple(
        f"{node.name} ({node.op_type}): {reason}"
        for node, reason in decisions.left_in_float.items()
    )
    return QuantizedModel(model, left)
