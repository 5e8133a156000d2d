"""The ranges of activations that share scale and zero point, from what calibration observed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.data.samples import Batches
from edgeconv.export.quantize.calibration.observer import Observed
from edgeconv.export.quantize.calibration.ranges import choose_range
from edgeconv.export.quantize.calibration.survey import Survey, survey
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.progress import Progress, no_progress

# A range that grows by a quarter costs a third of a bit.
_SETTLED = 0.25

Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        ranges: The range of each group, by its key.
        halfway: The ranges by every other batch; empty if there was only one batch.
    """

    ranges: dict[str, Range]
    halfway: dict[str, Range]

    def movement(self) -> dict[str, float]:
        """How far the two ends of each range moved by the other half, as a share of the range."""
        return {
            key: (abs(now.low - before.low) + abs(now.high - before.high))
            / max(now.high - now.low, abs(now.high), abs(now.low), 1e-30)
            for key, before in self.halfway.items()
            if (now := self.ranges[key])
        }

    def unsettled(self) -> str:
        """Describe that there were too few samples; empty if there were enough."""
        if not self.halfway:
            return "the ranges of int8 come from a single sample or batch"
        movement = self.movement()
        worst = max(movement, key=lambda key: movement[key], default="")
        if not worst or movement[worst] < _SETTLED:
            return ""
        many = sum(share >= _SETTLED for share in movement.values())
        return (
            f"the ranges of int8 have not settled: in the second half of the samples {worst!r} "
            f"still moved by {movement[worst]:.0%} of its range, and {many} of {len(movement)} by "
            f"{_SETTLED:.0%} or more"
        )


def calibrate(
    model: ir.Model,
    groups: Groups,
    batches: Batches,
    method: RangeMethod = RangeMethod.MINMAX,
    progress: Progress = no_progress,
    outputs: Collection[str] | None = None,
) -> Calibration:
    """Find the ranges of activations, in one pass over the data.

    Args:
        model: The float graph.
        groups: The names of the activations that share a range, by a key that the caller chooses.
        batches: For each batch, one array per graph input, in the graph's own shapes. The order of
            the batches does not change the ranges.
        method: How a range follows from what was observed.
        progress: Called after every batch.
        outputs: The activations that are never clipped; by default the outputs of the network.

    Raises:
        DataError: An activation is NaN or infinite.
    """
    names = [name for members in groups.values() for name in members]
    counting = method is not RangeMethod.MINMAX
    found = survey(model, names, batches, counting=counting, progress=progress)
    if outputs is None:
        outputs = {str(value.name) for value in model.graph.outputs}
    return calibration_of(outputs, groups, found, method)


def calibration_of(
    outputs: Collection[str], groups: Groups, found: Survey, method: RangeMethod
) -> Calibration:
    """The ranges from a pass over the data that was made before."""
    first, second = found.halves
    halfway = ranges_of(groups, outputs, first.observed, method) if second.batches else {}
    return Calibration(ranges_of(groups, outputs, found.whole, method), halfway)


def ranges_of(
    groups: Groups, outputs: Collection[str], observed: Observed, method: RangeMethod
) -> dict[str, Range]:
    """The range of each group.

    Outputs of the network always get their whole range: the rare large values of a detector's
    output are detections.
    """
    return {
        key: choose_range(
            method if frozenset(outputs).isdisjoint(members) else RangeMethod.MINMAX,
            [observed.histograms[name] for name in members],
        )
        for key, members in groups.items()
    }
