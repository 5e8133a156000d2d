"""Run the network once over the calibration samples, and keep all that quantization asks later.

Even and odd batches are observed apart: what is fitted to one half is judged on the other. Each
half keeps some of its batches, with the outputs of the float network, to be judged on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch, Batches
from edgeconv.export.quantize.calibration.observer import Observed, Observer
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.progress import Progress, no_progress

# Activations of small networks are observed many batches at a time, because NumPy's calls cost more
# than their work there. At most so many bytes and batches wait for that.
_GROUP_BYTES = 16_000_000
_GROUP_BATCHES = 64
# Each half keeps so many bytes to be judged on at the most.
_KEPT_BYTES = 64_000_000

Arrays = Sequence[npt.NDArray[Any]]


@dataclass(frozen=True)
class Kept:
    """A batch to judge on: the network's inputs, and the outputs of the float network."""

    inputs: Batch
    outputs: Arrays


@dataclass(frozen=True)
class Half:
    """Every other batch.

    Attributes:
        batches: How many batches it has.
        observed: What was seen of activations.
        kept: Some of its batches.
    """

    batches: int
    observed: Observed
    kept: tuple[Kept, ...]

    def __add__(self, later: Half) -> Half:
        return Half(
            self.batches + later.batches, self.observed + later.observed, self.kept + later.kept
        )


@dataclass(frozen=True)
class Survey:
    """What one pass over the data found; the second half is empty after a single batch.

    What was found on consecutive parts of the data adds up to what one pass finds on all of it.
    """

    halves: tuple[Half, Half]

    def __add__(self, later: Survey) -> Survey:
        first, second = (a + b for a, b in zip(self.halves, later.halves, strict=True))
        return Survey((first, second))

    @cached_property
    def whole(self) -> Observed:
        """What was seen over all batches."""
        first, second = self.halves
        return first.observed + second.observed if second.batches else first.observed


def survey(
    model: ir.Model,
    names: Sequence[str],
    batches: Batches | Sequence[Batch],
    *,
    counting: bool,
    by_channel: Collection[str] = (),
    keeping: int = 0,
    progress: Progress = no_progress,
    part: range | None = None,
) -> Survey:
    """Observe activations of the float graph on ONNX Runtime.

    As many batches run at a time as there are cores, and a thread for each half observes
    activations meanwhile. Those of a few batches are in memory for that; apart from them and from
    what is kept, memory does not grow with the number of batches.

    Args:
        model: The float graph.
        names: The activations.
        batches: For each batch, one array per graph input, in the graph's own shapes. Their order
            does not change what was seen of all of them.
        counting: Whether values are counted; otherwise only extremes are found.
        by_channel: The activations among ``names`` whose channels are observed one by one.
        keeping: How many samples each half keeps to be judged on at the most.
        progress: Called after every batch.
        part: The places of the batches to run, from 0; None is all of them.

    Raises:
        DataError: An activation is NaN or infinite.
    """
    outputs = [str(value.name) for value in model.graph.outputs] if keeping else []
    size = _batch_size(model)
    halves = [
        _Half(Observer(names, batch=size, counting=counting, by_channel=by_channel), size, keeping)
        for _ in range(2)
    ]
    network = IntermediateOutputs(model, [*names, *outputs])
    total = len(batches)
    running: deque[tuple[int, Batch]] = deque()

    def started() -> Iterator[Batch]:
        start, end = (0, None) if part is None else (part.start, part.stop)
        for number, batch in enumerate(islice(batches, end), start=1):
            if number > start:
                running.append((number, batch))
                yield batch

    progress("Calibrating", 0, total)
    with ThreadPoolExecutor(len(halves), thread_name_prefix="calibration") as threads:
        for arrays in network.run_each(started()):
            number, batch = running.popleft()
            half = halves[(number - 1) % 2]
            half.batches += 1
            if keeping:
                half.keep((number - 1) // 2, batch, arrays[len(names) :])
            half.put(threads, number, arrays[: len(names)])
            progress("Calibrating", number, total)
        for half in halves:
            half.start(threads)
        for half in halves:
            half.wait()
    first, second = (Half(h.batches, h.observer.observed, tuple(h.kept)) for h in halves)
    return Survey((first, second))


@dataclass
class _Half:
    observer: Observer
    size: int
    keeping: int
    batches: int = 0
    kept: list[Kept] = field(default_factory=list)
    waiting: list[tuple[int, Arrays]] = field(default_factory=list)
    waiting_bytes: int = 0
    pending: Future[None] | None = None

    def keep(self, place: int, batch: Batch, outputs: Arrays) -> None:
        """Keep the batch of this place in the half, if it is one of the first."""
        size = sum(array.nbytes for array in (*batch, *outputs))
        few = place * self.size < self.keeping and (place + 1) * size <= _KEPT_BYTES
        if place == 0 or few:
            self.kept.append(Kept(batch, outputs))

    def put(self, threads: ThreadPoolExecutor, number: int, arrays: Arrays) -> None:
        """Let a thread observe a batch, with others of the half once they are enough."""
        self.waiting.append((number, arrays))
        self.waiting_bytes += sum(array.nbytes for array in arrays)
        if self.waiting_bytes >= _GROUP_BYTES or len(self.waiting) == _GROUP_BATCHES:
            self.start(threads)

    def start(self, threads: ThreadPoolExecutor) -> None:
        """Observe what waits, as soon as the group before is done."""
        self.wait()
        if self.waiting:
            numbers, arrays = zip(*self.waiting, strict=True)
            self.waiting, self.waiting_bytes = [], 0
            self.pending = threads.submit(self.observer.add, arrays, numbers)

    def wait(self) -> None:
        if self.pending is not None:
            pending, self.pending = self.pending, None
            pending.result()


def _batch_size(model: ir.Model) -> int:
    """The first dimension of the first input."""
    shape = model.graph.inputs[0].shape
    return int(shape[0]) if shape is not None and len(shape) and isinstance(shape[0], int) else 1


def batches_of(kept: Iterable[Kept]) -> list[Batch]:
    """The inputs of batches that were kept."""
    return [each.inputs for each in kept]
