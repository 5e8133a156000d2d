"""What a profile by operator records of a file."""

from __future__ import annotations

from edgeconv.bench.profile.roofline import Peaks, Roof
from edgeconv.bench.result import Interval, ModelFile
from edgeconv.device.messages import Machine, Operator
from edgeconv.versioned import Record


class ProfiledOperator(Operator):
    """An operator and what it costs.

    ``times_ns`` has the median of every process that counts, ``ns`` is their geometric mean and
    ``interval`` its 95 % interval; None for one process, or below the step of the clock.
    ``delegated``: whether TFLite's delegate (XNNPACK) runs it; None for ONNX files and where the
    runtime does not report it. ``roof`` is None on an unknown board.
    """

    interval: Interval | None = None
    times_ns: tuple[int, ...] = ()
    delegated: bool | None = None
    macs: int | None
    roof: Roof | None

    @property
    def share_of_roof(self) -> float | None:
        """How much of the board's limit it reaches; above 1 if its tensors are in a cache."""
        return self.roof.ns / self.ns if self.roof and self.ns else None


class ProfiledModel(Record):
    """One file and the nodes that ran, in order.

    ``tick_ns`` is the step of the clock that measured their times; ``frequency_hz`` the highest
    frequency that the device reported for its cores; ``peaks`` is None for an unknown board.
    """

    file: ModelFile
    runtime_version: str
    machine: Machine
    tick_ns: int
    frequency_hz: int | None
    peaks: Peaks | None
    operators: tuple[ProfiledOperator, ...]
