"""What runs on a device, as its kernel sees it: no network, and no file elsewhere."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions, measure
from edgeconv.bench.profile.profile import profile
from edgeconv.bundle import sha256_of
from edgeconv.device import RunRequest, open_device
from edgeconv.device.messages import Samples
from edgeconv.device.ssh import SshDevice
from edgeconv.errors import MeasurementError
from support.ssh_server import PLAIN_SHELL, Server, parent, processes_with, wait_until
from support.system_calls import WATCHED_CALLS, written
from support.tiny_models import write_onnx, write_tflite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.device,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
FOLDER = ".cache/edgeconv"


@pytest.fixture
def calls(server: Server, tmp_path: Path) -> Path:
    """The log of the system calls of everything that runs on the server."""
    log, temporary = tmp_path / "calls", tmp_path / "temporary"
    temporary.mkdir()
    watch = f"strace -A -f -qq -s 4096 -e trace={WATCHED_CALLS} -o {log}"
    # Python keeps bytecode of its own; that of the runner lies in its archive.
    server.use_shell(f"export TMPDIR={temporary}; exec {watch} {PLAIN_SHELL.removeprefix('exec ')}")
    return log


def assert_kept_to_itself(calls: Path, server: Server) -> None:
    text = calls.read_text("utf-8", "replace")
    assert "execve" not in text
    assert "AF_INET" not in text
    # `mkdir -p` goes into the first folder to make the second.
    ours = {server.home / name for name in ("lock", ".cache", "edgeconv")}
    assert not (server.home / "edgeconv").exists()
    temporary = calls.parent / "temporary"
    elsewhere = {
        path
        for path in written(text, server.home)
        if path not in ours and not path.is_relative_to(server.home / FOLDER)
        and not path.is_relative_to(temporary)
    }  # fmt: skip
    assert elsewhere == set()
    assert list(temporary.iterdir()) == []
    there = {path.suffix for path in (server.home / FOLDER).iterdir()}
    assert there <= {".onnx", ".tflite", ".pyz", ".py"}


def test_measurements(server: Server, calls: Path, tmp_path: Path) -> None:
    device = open_device(server.name)
    options = BenchOptions(runs=3, seconds=0, warmup=0, repetitions=1)
    measure([write_tflite(tmp_path / "m.tflite")], options, device)
    profile([write_onnx(tmp_path / "m.onnx")], options, device)
    wait_until(lambda: not processes_with(str(server.home)))
    assert written(calls.read_text(), server.home)
    assert_kept_to_itself(calls, server)


@pytest.mark.parametrize("operators", [False, True])
def test_a_killed_connection(
    server: Server, calls: Path, tmp_path: Path, *, operators: bool
) -> None:
    device = SshDevice.parse(server.name)
    model = write_onnx(tmp_path / "m.onnx")
    request = RunRequest(
        model=device.place(model),
        warmup_seconds=0.0,
        warmup_runs=1,
        min_runs=10_000_000,
        min_seconds=60.0,
        operators=operators,
    )
    events = device.run(request)
    if not operators:
        next(event for event in events if isinstance(event, Samples))
    else:
        next(events)
        wait_until(lambda: [*(tmp_path / "temporary").iterdir()])
    # The connections of other tests have other parents.
    ours = [pid for pid in processes_with("timeout -k 5 ") if parent(pid) == os.getpid()]
    assert ours
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(MeasurementError):
        list(events)
    wait_until(lambda: not server.runners())
    wait_until(lambda: not [*(tmp_path / "temporary").iterdir()])
    assert_kept_to_itself(calls, server)


def test_a_transfer_that_is_cut(server: Server, tmp_path: Path) -> None:
    """Half a file never has the name of a whole one: the device compares before the host can."""
    server.use_shell('exec sh -c "$(printf %s "$1" | sed \'s/cat >/head -c 99 >/\')"\n')
    model = write_onnx(tmp_path / "m.onnx", shape=(1, 9, 9, 9))
    with pytest.raises(MeasurementError, match="did not arrive whole"):
        SshDevice.parse(server.name).place(model)
    server.use_shell(PLAIN_SHELL)
    there = {path.name for path in (server.home / FOLDER).iterdir()}
    assert not [name for name in there if name.startswith(sha256_of(model)) or ".part" in name]


def test_parts_of_cut_transfers_are_removed_a_day_later(server: Server, tmp_path: Path) -> None:
    """One of today may still be written."""
    folder = server.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    old, new = folder / "a.onnx.0123abcd.part", folder / "b.onnx.0123abcd.part"
    for part in (old, new):
        part.write_text("half")
    os.utime(old, (0, 0))
    SshDevice.parse(server.name).place(write_onnx(tmp_path / "m.onnx", shape=(1, 9, 9, 8)))
    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()
