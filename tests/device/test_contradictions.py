"""A runner that contradicts itself is refused, whoever asked it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from edgeconv.device.events import events_of
from edgeconv.device.messages import EVENT
from edgeconv.device.process import LineProcess
from edgeconv.errors import MeasurementError
from edgeconv.limits import DEVICE_BYTES, LimitExceeded
from support.results import CALM

CONDITIONS = CALM.model_dump(mode="json")
DONE = {"event": "done", "runs": 3, "ns": 100, "complete": True, "conditions": CONDITIONS}
READING = {"event": "reading", "ns": 50, "conditions": CONDITIONS, "watts": None}
WARMUP = {"event": "warmup", "runs": 3, "ns": 9, "stable": True, "median_ns": 3}
WARMUP |= {"conditions": CONDITIONS}
BUSY = WARMUP | {"conditions": CONDITIONS | {"own_cpu_seconds": 1.0}}
FIRST = {"event": "first", "ns": 9}
OUTPUT = {"name": "y", "dtype": "int8", "shape": [1], "sha256": "0" * 64, "base64": "AA=="}
OUTPUTS = {"event": "outputs", "outputs": [OUTPUT]}
SAMPLES = {"event": "samples", "ns": [10, 20, 10]}


def received(*events: dict[str, Any]) -> list[Any]:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    command = [sys.executable, "-I", "-c", "import sys; sys.stdout.write(sys.argv[1])", lines]
    with LineProcess(command, seconds=60, limit=DEVICE_BYTES) as process:
        return list(events_of(process, "pi"))


def test_one_that_does_not() -> None:
    assert len(received(SAMPLES, READING, DONE)) == 3


@pytest.mark.parametrize(
    "events",
    [
        (SAMPLES, DONE | {"runs": 4}),
        (SAMPLES, DONE | {"ns": 39}),
        (SAMPLES, READING | {"ns": 39}, DONE),
        (SAMPLES, READING, READING | {"ns": 49}, DONE),
        (SAMPLES, READING, DONE | {"ns": 49}),
        (SAMPLES, READING, READING | {"conditions": CONDITIONS | {"own_cpu_seconds": 1e300}}),
        (BUSY, SAMPLES, DONE),
        (WARMUP, WARMUP),
        (FIRST, OUTPUTS, OUTPUTS),
    ],
)
def test_totals_that_do_not_fit(events: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(MeasurementError, match="pi: the runner's answer contradicts itself"):
        received(*events)


def test_no_outputs() -> None:
    with pytest.raises(ValidationError):
        EVENT.validate_python({"event": "outputs", "outputs": []})


def test_many_batches_have_many_outputs() -> None:
    assert len(received(OUTPUTS, OUTPUTS, {"event": "computed", "batches": 2})) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature_c": -1e308},
        {"throttled": "f" * 65},
        {"frequencies_hz": [1] * 9000},
        {"busy_seconds": [1.0] * 9000},
    ],
)
def test_figures_that_no_device_has(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EVENT.validate_python(READING | {"conditions": CONDITIONS | changes})


def test_a_failure_is_no_flood() -> None:
    failed = {"event": "error", "kind": "x", "message": "y" * 4096, "hint": "z" * 4096}
    with pytest.raises(MeasurementError) as caught:
        received(failed)
    assert len(str(caught.value)) < 2100


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_BYTES.variable, "100000")
    program = "import sys\nwhile True: print(sys.argv[1])"
    command = [sys.executable, "-I", "-c", program, json.dumps(SAMPLES)]
    with (
        LineProcess(command, seconds=60, limit=DEVICE_BYTES) as process,
        pytest.raises(LimitExceeded, match="and the limit is 100 kB"),
    ):
        list(events_of(process, "pi"))
