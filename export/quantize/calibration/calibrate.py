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

# Activations of small networks are looked at many batches at a time, for NumPy's calls cost more
# than their work there; this many bytes at most wait for it.
_GROUP_BYTES = 32_000_000
_GROUP_BATCHES = 64
# A range that grew by a quarter costs a third of a bit.
_SETTLED = 0.25


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Attributes:
        ranges: by the key of the group.
        halfway: the same after the first half of the batches; empty where there was only one.
    """

    ranges: dict[str, Range]
    halfway: dict[str, Range]

    def movement(self) -> dict[str, float]:
        """How far the ends of each range moved in the second half of the samples together, as a
        share of the range.
        """
        return {
            key: (abs(now.low - before.low) + abs(now.high - before.high))
            / max(now.high - now.low, abs(now.high), abs(now.low), 1e-30)
            for key, before in self.halfway.items()
            if (now := self.ranges[key])
        }

    def unsettled(self) -> str:
        """In words, that the samples were too few; empty if they were enough."""
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
    """Ranges of activations; those of one group share theirs. A group that holds an output of the
    network gets the whole range whatever the method.

    Runs the float graph on ONNX Runtime with the activations as further outputs. What they hold is
    looked at in a second thread while the network computes the next batch. The activations of one
    batch, or of a few small ones, wait there; nothing else in memory grows.

    Args:
        groups: names of activations, by a key of the caller's.
        batches: for each batch, one array per graph input, in the graph's own shapes. Their order
            changes nothing of the ranges.

    Raises:
        DataError: an activation is NaN or infinite.
    """
    names = [name for members in groups.values() for name in members]
    observer = Observer(names, batch=_batch_size(model), counting=method is not RangeMethod.MINMAX)
    halfway: dict[str, Range] = {}

    outputs = {value.name for value in model.graph.outputs}

    def ranges() -> dict[str, Range]:
        # A rare large value is what a detector's output is about: outputs are never clipped.
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
        """Wait until everything was observed."""
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
