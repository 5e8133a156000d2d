"""A device that answers from a script, for tests of what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeconv.bench import BenchOptions
from edgeconv.device import DeviceFacts, Event, Lock, RunRequest
from edgeconv.device.messages import EVENT

QUICK = BenchOptions(runs=40, seconds=0.0, warmup=0.0, repetitions=3, retries=0)
MACHINE = {
    "architecture": "aarch64",
    "system": "Linux",
    "libc": "glibc 2.36",
    "board": "Raspberry Pi 4",
    "cpu": None,
    "cores": 4,
    "cores_allowed": 4,
    "memory_bytes": None,
    "governor": "ondemand",
}


def conditions(**changes: Any) -> dict[str, Any]:
    calm = {
        "load_average": 0.1,
        "frequencies_hz": [1_500_000_000],
        "temperature_c": 50.0,
        "throttled": "0",
        "own_cpu_seconds": 1.0,
        "all_cpu_seconds": 100.0,
        "stolen_seconds": 0.0,
        "peak_rss_bytes": 1 << 20,
    }
    return calm | changes


def answer(
    samples: list[int],
    *,
    before: str = "0",
    after: dict[str, Any] | None = None,
    stable: bool = True,
    complete: bool = True,
    digest: str = "0" * 64,
) -> list[Event]:
    """What a runner says that was well for a second. CPU times go on by that second."""
    done = conditions(own_cpu_seconds=2.0, all_cpu_seconds=101.0) | (after or {})
    output = {"name": "y", "dtype": "int8", "shape": [1], "sha256": digest, "base64": "AA=="}
    reported: list[dict[str, Any]] = [
        {"event": "start", "protocol": 1, "runtime": "litert", "runtime_version": "2.3"}
        | {"python": "3.11", "numpy": "2.0", "machine": MACHINE, "conditions": conditions()},
        {"event": "load", "ns": 5_000_000},
        {"event": "first", "ns": 2_000_000},
        {"event": "outputs", "outputs": [output]},
        {"event": "warmup", "runs": 3, "ns": 3_000_000, "stable": stable, "median_ns": 1_000_000}
        | {"conditions": conditions(throttled=before)},
        {"event": "samples", "ns": samples[:1]},
        {"event": "samples", "ns": samples[1:]},
        {"event": "done", "runs": len(samples), "ns": 1_000_000_000, "complete": complete}
        | {"conditions": done},
    ]
    return [EVENT.validate_python(event) for event in reported]


class Scripted:
    """A device that answers from a function and notes what it was asked."""

    name = "scripted"

    def __init__(self, answers: Callable[[int, str], list[Event]]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.renewed = 0

    def place(self, file: Path) -> str:
        return str(file)

    def probe(self) -> DeviceFacts:
        raise NotImplementedError

    @contextmanager
    def lock(self, lease_seconds: int) -> Iterator[Lock]:
        yield self

    def renew(self) -> None:
        self.renewed += 1

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        self.asked.append(Path(request.model).name)
        yield from self._answers(len(self.asked) - 1, self.asked[-1])
