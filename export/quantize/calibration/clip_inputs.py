"""Clip calibration data to what the integer network will see of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.quantize.calibration.calibrate import ranges_of
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.parameters import Range, activation_parameters
from edgeconv.export.quantize_options import RangeMethod

# Clipping an input to less than this share of its span may change ranges inside the network: it is
# worth another pass over the data.
_CLIPPED_SHARE = 0.5


class ClippedBatches:
    """Batches whose values are clipped to the int8 range of each input.

    Input values outside the int8 range never reach the network, so they must not widen the ranges
    of later activations.

    Args:
        batches: The data.
        ranges: The range of each input; None for an input that is not clipped.
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


def input_limits(
    model: ir.Model,
    groups: Mapping[str, list[str]],
    observed: Observed,
    method: RangeMethod,
) -> list[Range | None]:
    """What each input is to be clipped to before the ranges inside the network are found.

    Args:
        model: The float graph.
        groups: The names of the activations that share a range, by a key.
        observed: What was seen of the inputs.
        method: The range method.

    Returns:
        For each input its int8 range, or None where the method leaves most of its span.
    """
    names = [str(value.name) for value in model.graph.inputs]
    limits: dict[str, Range] = {}
    for members in groups.values():
        chosen = [name for name in members if name in names]
        if not chosen:
            continue
        # Outputs of the network that share the range do not count here.
        kept, whole = (
            activation_parameters(ranges_of({"": chosen}, (), observed, each)[""]).range
            for each in (method, RangeMethod.MINMAX)
        )
        if kept.high - kept.low < _CLIPPED_SHARE * (whole.high - whole.low):
            limits |= dict.fromkeys(chosen, kept)
    return [limits.get(name) for name in names]
