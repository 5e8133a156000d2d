"""An interruption keeps what a kill would leave: processes that ended, disturbed ones too."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from edgeconv.bench import Journal, measure, new_session
from edgeconv.cli.bench_session import keeping
from edgeconv.device import Event, RunRequest
from edgeconv.errors import MeasurementError, UsageError
from support.scripted_device import QUICK, Scripted, answer, conditions
from support.tiny_models import write_onnx

BUSY = conditions(own_cpu_seconds=2.0, all_cpu_seconds=103.0)
CALM = [1_000_000, 1_000_000]


class Interrupted(Scripted):
    """Its first processes are disturbed; Ctrl-C comes in the middle of the next one."""

    def __init__(self, disturbed: int) -> None:
        super().__init__(lambda index, name: answer(CALM, after=BUSY))
        self.disturbed = disturbed

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        said = super().run(request)
        if len(self.asked) < self.disturbed:
            yield from said
            return
        for event in said:
            yield event
            if event.event == "samples":
                raise KeyboardInterrupt


def interrupted(path: Path, disturbed: int) -> MeasurementError:
    options = QUICK.model_copy(update={"retries": 2})
    model, device = write_onnx(path.with_name("m.onnx")), Interrupted(disturbed)
    journal = Journal.create(path, new_session([model], options, device.name))
    with pytest.raises(MeasurementError) as caught, keeping(journal, 3):
        measure([model], options, device, journal=journal)
    return caught.value


@pytest.mark.usefixtures("unchecked")
def test_processes_that_were_disturbed_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.json.partial"
    error = interrupted(path, disturbed=1)
    kept = "no process was left in peace, and what they measured is kept"
    assert error.message == f"interrupted; {kept}"
    assert f"--resume {path}" in error.hint
    reasons = [aside.reason for aside in Journal.open(path).set_aside]
    assert len(reasons) == 2
    assert reasons[0].startswith("others used")
    assert reasons[1] == "interrupted"
    # What was resumed and is then refused stays, too.
    again = Journal.open(path)
    with pytest.raises(UsageError), keeping(again, 3):
        raise UsageError("a file changed")
    assert path.exists()


@pytest.mark.usefixtures("unchecked")
def test_a_process_that_did_not_end_is_nothing_to_continue(tmp_path: Path) -> None:
    path = tmp_path / "r.json.partial"
    assert interrupted(path, disturbed=0).message == "interrupted; nothing is kept"
    assert not path.exists()
