"""Observe every activation over calibration samples, in one pass and bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batches
from edgeconv.export.quantize.calibration.observer import Observer
from edgeconv.export.quantize.calibration.ranges import choose_range
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.progress import Progress, no_progress

# Activations of small networks are observed many batches at a time, because NumPy's calls cost more
# than their work there. At most so many bytes and batches wait for that.
_GROUP_BYTES = 32_000_000
_GROUP_BATCHES = 64
# A range that grows by a quarter costs a third of a bit.
_SETTLED = 0.25


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        ranges: The range of each group, by its key.
        halfway: The ranges after the first half of the batches; empty if there was only one batch.
    """

    ranges: dict[str, Range]
    halfway: dict[str, Range]

    def movement(self) -> dict[str, float]:
        """How far the two ends of each range moved in the second half, as a share of the range."""
        return {
            key: (abs(now.low - before.low) + abs(now.high - before.high))
            / max(now.high - now.low, abs(now.high), abs(now.low), 1e-30)
            for key, before in self.halfway.items()
            if (now := self.ranges[key])
        }

    def unsettled(self) -> str:
        """Describe that there were too few samples; empty if there were enough."""
        if not self.halfway:
            return "the ranges of int8 come from a single sample or batch; pass more samples"
        movement = self.movement()
        worst = max(movement, key=lambda key: movement[key], default="")
        if not worst or movement[worst] < _SETTLED:
            return ""
        many = sum(share >= _SETTLED for share in movement.values())
        return (
            f"the ranges of int8 have not settled: in the second half of the samples {worst!r} "
            f"still moved by {movement[worst]:.0%} of its range, and {many} of {len(movement)} by "
            f"{_SETTLED:.0%} or more; pass more samples"
        )


def calibrate(
    model: ir.Model,
    groups: Mapping[str, Sequence[str]],
    batches: Batches,
    method: RangeMethod = RangeMethod.MINMAX,
    progress: Progress = no_progress,
) -> Calibration:
    """Find the ranges of activations.

    The float graph runs on ONNX Runtime with the activations as further outputs. A second thread
    observes them while the network computes the next batch. The activations of one batch, or of a
    few small ones, wait for it; apart from that, memory does not grow with the number of batches.

    Args:
        model: The float graph.
        groups: The names of the activations that share a range, by a key that the caller chooses.
        batches: For each batch, one array per graph input, in the graph's own shapes. The order of
            the batches does not change the ranges.
        method: How a range follows from what was observed. A group with an output of the network
            always gets its whole range.
        progress: Called after every batch.

    Raises:
        DataError: An activation is NaN or infinite.
    """
    names = [name for members in groups.values() for name in members]
    observer = Observer(names, batch=_batch_size(model), counting=method is not RangeMethod.MINMAX)
    halfway: dict[str, Range] = {}

    outputs = {value.name for value in model.graph.outputs}

    def ranges() -> dict[str, Range]:
        # Outputs are never clipped: the rare large values of a detector's output are detections.
        return {
            key: choose_range(
                method if outputs.isdisjoint(members) else RangeMethod.MINMAX,
                [observer.histogram(name) for name in members],
            )
            for key, members in groups.items()
        }

    activations = IntermediateOutputs(model, names)
    total = len(batches)
    progress("Calibrating", 0, total)
    with _Pipe(observer) as pipe:
        for done, batch in enumerate(batches, start=1):
            pipe.put(activations.run(batch))
            if 2 * done == total or 2 * done == total + 1 > 2:
                pipe.flush()
                halfway = ranges()
            progress("Calibrating", done, total)
    return Calibration(ranges(), halfway)


class _Pipe:
    """Hands groups of batches to the observer in a second thread, one group at a time."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="calibration")
        self._pending: Future[None] | None = None
        self._group: list[list[npt.NDArray[Any]]] = []
        self._bytes = 0

    def __enter__(self) -> _Pipe:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._thread.shutdown()

    def put(self, arrays: list[npt.NDArray[Any]]) -> None:
        self._group.append(arrays)
        self._bytes += sum(array.nbytes for array in arrays)
        if self._bytes >= _GROUP_BYTES or len(self._group) == _GROUP_BATCHES:
            self._start()

    def flush(self) -> None:
        """Wait until all activations are observed."""
        self._start()
        self._wait()

    def _start(self) -> None:
        self._wait()
        if self._group:
            group, self._group, self._bytes = self._group, [], 0
            self._pending = self._thread.submit(self._observer.add, group)

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()


def _batch_size(model: ir.Model) -> int:
    """The first dimension of the first input."""
    shape = model.graph.inputs[0].shape
    return int(shape[0]) if shape is not None and len(shape) and isinstance(shape[0], int) else 1
