"""A chain of stages with thresholds, as a sweep found it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from edgeconv.bench.result import Interval
from edgeconv.bundle import Format
from edgeconv.evaluation import Figure
from edgeconv.sweep.confidence import Confidence
from edgeconv.sweep.network import Network
from edgeconv.versioned import Record


class StageFile(Record):
    """The file of one stage, and what it costs by itself."""

    bundle: Path
    file: str
    bytes: int
    latency_ns: Interval | None = None
    instructions: int | None = None


class ChainRow(Record):
    """A chain of files on one device with one number of threads, and its thresholds.

    A sample leaves at the first exit whose ``confidence`` is at least the exit's threshold (None:
    none leaves there), or at the last one. Thresholds are found on ``found_on`` samples; everything
    else is of the others, which ``accuracy`` counts: the ``shares`` of samples that leave at each
    exit, and what is expected of a sample in the mean, ``latency_ns`` or ``instructions``.
    ``failures`` say why there is nothing of this.
    """

    network: Network
    format: Format | None = None
    stages: tuple[StageFile, ...] = ()
    device: str | None = None
    threads: int | None = None
    confidence: Confidence | None = None
    thresholds: tuple[float | None, ...] = ()
    found_on: int | None = Field(default=None, ge=1)
    accuracy: Figure | None = None
    shares: tuple[float, ...] = ()
    latency_ns: Interval | None = None
    instructions: Interval | None = None
    failures: tuple[str, ...] = ()
    on_front: bool = False

    @property
    def cost(self) -> float | None:
        """The expected latency, or else the expected instructions."""
        expected = self.latency_ns or self.instructions
        return None if expected is None else expected.value

    @property
    def gain(self) -> float | None:
        """The accuracy."""
        return None if self.accuracy is None else self.accuracy.value

    @property
    def bytes(self) -> int:
        """Of the files of all stages."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def memory_bytes(self) -> None:
        """The memory of a whole chain is not measured."""
        return


def marked_chains(rows: Sequence[ChainRow]) -> tuple[ChainRow, ...]:
    """The rows, with those marked that no other of their device beats in accuracy and cost.

    Of equal ones the first is marked.
    """
    best: dict[str | None, float] = {}
    front: set[int] = set()
    found = [(row.cost, -(row.gain or 0.0), index) for index, row in enumerate(rows) if row.cost]
    for _, loss, index in sorted(found):
        device = rows[index].device
        if loss < best.get(device, 1.0):
            best[device] = loss
            front.add(index)
    return tuple(
        row.model_copy(update={"on_front": index in front}) for index, row in enumerate(rows)
    )
