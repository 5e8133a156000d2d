"""A cluster that others started: its workers, its boards, and what is wrong with it."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.sweep import workers
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.plan import Exports, Models, Plan
from edgeconv.sweep.run import sweep
from edgeconv.sweep.workers import open_workers
from support.tiny_models import write_onnx

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None,
        reason="Dask is not installed (extra sweep)",
    ),
]


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dask", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def line_with(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found
    raise AssertionError(f"it never said {pattern}")


@contextlib.contextmanager
def scheduler() -> Iterator[str]:
    with process("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard") as started:
        yield line_with(started, r"Scheduler at: +(tcp://127.0.0.1:\d+)")[1]


@contextlib.contextmanager
def worker(address: str, *arguments: str) -> Iterator[None]:
    with process(
        *("worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard", *arguments)
    ) as started:
        line_with(started, r"Registered to: ")
        yield


def test_the_workers_of_a_cluster(tmp_path: Path) -> None:
    plan = Plan(
        model=(Models(name=(str(write_onnx(tmp_path / "net.onnx", shape=(1, 3, 8, 8))),)),),
        export=Exports(formats=("onnx",)),
    )
    with scheduler() as address, worker(address), worker(address, "--resources", "board:one=1"):
        cache = Cache(tmp_path / "cache")
        result = sweep(plan, cache, scheduler=address)
        with open_workers(cache, scheduler=address, count=None) as opened:
            assert not opened.shared
            (board,) = opened.boards
            (job,) = candidates(plan)
            # What only one worker offers is done there; the result is there already.
            assert opened.submit(job, board).result(60) is None
    here = sweep(plan, Cache(tmp_path / "other"), workers=0)
    assert [row.model_copy(update={"bundle": None}) for row in result.rows] == [
        row.model_copy(update={"bundle": None}) for row in here.rows
    ]
    assert result.rows[0].failures == ()


def test_what_is_wrong_with_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    cache = Cache(tmp_path)
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers"),
        open_workers(cache, scheduler="tcp://127.0.0.1:9", count=None),
    ):
        pass
    with scheduler() as address:
        with (
            pytest.raises(UsageError, match="has no workers"),
            open_workers(cache, scheduler=address, count=None),
        ):
            pass
        monkeypatch.setattr(workers, "tools", lambda: "another edgeconv")
        with (
            worker(address),
            pytest.raises(EdgeconvError, match="has another edgeconv"),
            open_workers(cache, scheduler=address, count=None),
        ):
            pass


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    cache = Cache(tmp_path)
    with open_workers(cache, scheduler=None, count=None) as opened:
        assert opened.shared
    with (
        pytest.raises(UsageError, match="needs Dask") as caught,
        open_workers(cache, scheduler=None, count=2),
    ):
        pass
    assert "edgeconv[sweep]" in caught.value.hint
