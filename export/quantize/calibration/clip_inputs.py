"""Clip calibration data to what the integer network will see of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.quantize.calibration.calibrate import calibrate
from edgeconv.export.quantize.parameters import Range, activation_parameters
from edgeconv.export.quantize.plan import plan
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.progress import Progress


class ClippedBatches:
    """Batches whose values are clipped to the int8 range of each input.

    Input values outside the int8 range never reach the network, so they must not widen the ranges
    of later activations.

    Args:
        batches: The data.
        ranges: The range of each input; None for an input that is not quantized.
    """

    def __init__(self, batches: Batches, ranges: list[Range | None]) -> None:
        self._batches = batches
        self._ranges = ranges

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches:
            yield [
                array if limits is None else np.clip(array, limits.low, limits.high)
                for array, limits in zip(batch, self._ranges, strict=True)
            ]


def clip_inputs(
    model: ir.Model, batches: Batches, options: QuantizeOptions, progress: Progress
) -> Batches:
    """Clip the batches to the range of each quantized input, by the range method of ``options``.

    With min-max, the batches are returned as they are.

    Raises:
        DataError: An input is NaN or infinite.
    """
    if options.range_method is RangeMethod.MINMAX:
        return batches
    names = [str(value.name) for value in model.graph.inputs]
    groups = {
        key: chosen
        for key, members in plan(model.graph, options).groups().items()
        if (chosen := [name for name in members if name in names])
    }
    ranges = calibrate(model, groups, batches, options.range_method, progress).ranges
    by_name = {
        name: activation_parameters(ranges[key]).range
        for key, members in groups.items()
        for name in members
    }
    return ClippedBatches(batches, [by_name.get(name) for name in names])
