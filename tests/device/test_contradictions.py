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
    ],
)
def test_totals_that_do_not_fit(events: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(MeasurementError, match="pi: the runner's answer contradicts itself"):
        received(*events)


def test_no_outputs() -> None:
    with pytest.raises(ValidationError):
        EVENT.validate_python({"event": "outputs", "outputs": []})


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_BYTES.variable, "100000")
    program = "import sys\nwhile True: print(sys.argv[1])"
    command = [sys.executable, "-I", "-c", program, json.dumps(SAMPLES)]
    with (
        LineProcess(command, seconds=60, limit=DEVICE_BYTES) as process,
        pytest.raises(LimitExceeded, match="and the limit is 100 kB"),
    ):
        list(events_of(process, "pi"))
