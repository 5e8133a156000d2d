"""A journal on a full disk, and what is said of a measurement that a limit ends."""

from __future__ import annotations

import errno
import logging
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions, Journal
from edgeconv.bench.journal import Finished, Session
from edgeconv.cli.bench_session import begin, keeping
from edgeconv.errors import EdgeconvError, MeasurementError
from edgeconv.limits import LimitExceeded
from support.results import made_model, made_result
from support.tiny_models import write_tflite

RESULT = made_result(made_model("m", [1_000_000] * 3))
FINISHED = Finished(model=0, machine=RESULT.machine, run=RESULT.models[0].processes[0])
SESSION = Session(
    edgeconv_version="1",
    started=datetime(2026, 1, 1, tzinfo=timezone.utc),
    device="local",
    options=BenchOptions(),
    files=(RESULT.models[0].file,),
    paths=(Path("/m.tflite"),),
    inputs_sha256=None,
    out=None,
)


@pytest.mark.parametrize("name", ["plain", "d\udcff/new\nline", "file:x"])
def test_paths_of_any_bytes_are_kept(tmp_path: Path, name: str) -> None:
    paths = {"paths": (Path("/", name),), "out": Path(name)}
    session = SESSION.model_copy(update=paths)
    Journal.create(tmp_path / "r.partial", session)
    assert Journal.open(tmp_path / "r.partial").session == session


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_named() -> None:
    journal = Journal(SESSION, Path("/dev/full"))
    with pytest.raises(EdgeconvError, match="/dev/full cannot be written: No space left") as caught:
        journal.add(FINISHED)
    assert caught.value.hint.startswith("free some space")


def test_a_limit_costs_no_process(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "r.json.partial", SESSION)
    with pytest.raises(LimitExceeded), keeping(journal, 2):
        raise LimitExceeded("too much")
    assert not any(tmp_path.iterdir())
    journal = Journal.create(tmp_path / "r.json.partial", SESSION)
    journal.add(FINISHED)
    with pytest.raises(MeasurementError, match="too much; 1 of 2 processes is kept"):  # noqa: SIM117
        with keeping(journal, 2):
            raise LimitExceeded("too much")
    assert len(Journal.open(tmp_path / "r.json.partial").finished) == 1


def test_a_full_disk_of_the_history_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "history" / "h.db"))
    monkeypatch.setattr(os, "fsync", full)
    model = write_tflite(tmp_path / "m.tflite")
    with caplog.at_level(logging.WARNING):
        assert begin([model], BenchOptions(), "local", None).path is None
    assert "nothing is kept if this is cut short" in caplog.text
    assert not list(tmp_path.glob("history/unfinished/*"))
