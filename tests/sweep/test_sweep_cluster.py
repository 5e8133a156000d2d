"""A cluster that others started: its workers, its boards, and what is wrong with it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeconv.errors import EdgeconvError, Notice, UsageError
from edgeconv.log_lines import show_warnings, take_warning
from edgeconv.sweep import workers
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.candidates import candidates
from edgeconv.sweep.plan import Exports, Models, Plan
from edgeconv.sweep.run import sweep
from edgeconv.sweep.workers import open_workers
from support.dask_cluster import scheduler, worker
from support.tiny_models import write_onnx

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None,
        reason="Dask is not installed (extra sweep)",
    ),
]


@contextlib.contextmanager
def warnings_shown() -> Iterator[None]:
    """Show warnings as the command does."""
    ours = logging.getLogger("edgeconv")
    before = ours.handlers, ours.propagate, ours.level
    show_warnings()
    try:
        yield
    finally:
        ours.handlers, ours.propagate = before[:2]
        ours.setLevel(before[2])


WARNING = {
    "level": str(logging.WARNING),
    "subject": "net",
    "message": "the weights are random",
    "hint": "pass --weights",
}


def test_the_workers_of_a_cluster(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = Plan(
        model=(Models(name=(str(write_onnx(tmp_path / "net.onnx", shape=(1, 3, 8, 8))),)),),
        export=Exports(formats=("onnx",)),
    )
    with (
        warnings_shown(),
        scheduler() as running,
        worker(running.address),
        worker(running.address, "--resources", "board:one=1"),
    ):
        address = running.address
        cache = Cache(tmp_path / "cache")
        result = sweep(plan, cache, scheduler=address)
        with open_workers(cache, scheduler=address, count=None) as opened:
            assert not opened.shared
            assert not list((cache.folder / "probe").iterdir())
            (board,) = opened.boards
            (job,) = candidates(plan)
            # What only one worker offers is done there; the result is there already.
            assert opened.submit(job, board).result(60) is None
            capfd.readouterr()
            # Both workers warn of it; each of them showed it.
            executors = [opened.executor] * 4 + [opened.boards[board]]
            for future in [executor.submit(take_warning, WARNING) for executor in executors]:
                future.result(60)
    assert capfd.readouterr().err.splitlines() == [
        "warning: net: the weights are random",
        "hint: pass --weights",
    ]
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
    with scheduler() as running:
        address = running.address
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


def test_a_scheduler_that_takes_connections_and_answers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        begun = time.monotonic()
        with (
            pytest.raises(UsageError, match=f"no Dask scheduler answers at {address}"),
            open_workers(Cache(tmp_path), scheduler=address, count=None),
        ):
            pass
    assert time.monotonic() - begun < 20


def test_what_a_worker_process_warns_of_is_safe_to_print(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    warn = logging.getLogger("edgeconv.data").warning
    with warnings_shown(), open_workers(Cache(tmp_path), scheduler=None, count=1) as opened:
        opened.executor.submit(warn, Notice("\x1b[31mred.png was skipped", "look at it")).result()
    assert "warning: \\x1b[31mred.png was skipped\nhint: look at it\n" in capfd.readouterr().err


INTERRUPTED = """
import sys, time
from pathlib import Path
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.workers import open_workers
if __name__ == "__main__":
    with open_workers(Cache(Path(sys.argv[1])), scheduler=None, count=1) as opened:
        opened.executor.submit(time.sleep, 1)
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


def test_control_c_is_the_commands_own_and_no_traceback_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "sweep.py").write_text(INTERRUPTED)
    command = [sys.executable, str(tmp_path / "sweep.py"), str(tmp_path / "cache")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal interrupts all processes of its foreground
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"


def test_two_sweeps_that_check_one_cache_do_not_disturb_each_other(tmp_path: Path) -> None:
    cache = Cache(tmp_path)

    class Client:
        """Has another sweep check the cache while the first one's workers look."""

        checks = 0

        def run(self, look: Callable[[Path], object], path: Path, **_: object) -> dict[str, object]:
            self.checks += 1
            if self.checks == 1:
                workers._check_workers(self, cache)
            return {"tcp://worker": look(path)}

    client = Client()
    workers._check_workers(client, cache)
    assert client.checks == 2
    assert not list((tmp_path / "probe").iterdir())


def test_the_port_of_dasks_dashboard_may_be_taken(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # it is taken as it is
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
        with open_workers(Cache(tmp_path), scheduler=None, count=1):
            pass
    assert not [each for each in recwarn if "8787" in str(each.message)]


def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a /dev/shm, where Dask's own words are "Nanny failed to start."."""
    import distributed

    def fails(**options: object) -> None:
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", fails)
    with (
        pytest.raises(EdgeconvError, match=r"worker processes cannot be started.*\n.*--workers 0"),
        open_workers(Cache(tmp_path), scheduler=None, count=1),
    ):
        pass
