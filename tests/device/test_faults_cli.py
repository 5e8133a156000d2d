"""Faults as the user of ``edgeconv bench`` meets them: one line, an exit code, a way to go on."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeconv.bench import BenchResult, Journal
from edgeconv.bench.journal import SUFFIX
from support.command_line import Ran
from support.ssh_server import Server, wait_until, write_config, write_ssh
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.device

QUICK = ("--runs", "20", "--seconds", "0", "--warmup", "0", "--repetitions", "2", "--retries", "0")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the command line in a process of its own; its history is the test's."""
    monkeypatch.setenv("EDGECONV_HISTORY", str(tmp_path / "state" / "history.db"))

    def run(*given: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from edgeconv.cli import main; main()", *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def failed(process: subprocess.Popen[str], code: int = 1) -> str:
    """Wait for a failure, and return its line and that of its hint, if any."""
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (code, ""), err
    assert all(map(str.isprintable, err.splitlines()))
    assert Ran(process.returncode, out, err).error  # which checks the lines
    return err.strip()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Slow enough that a second has few samples."""
    return write_tflite(tmp_path / "m.tflite", shape=(1, 128, 128, 16))


def leftovers(tmp_path: Path) -> list[Path]:
    return [*tmp_path.rglob(f"*{SUFFIX}")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"UserKnownHostsFile": "stranger.pub"}, "its host key is unknown"),
        ({"IdentityFile": "stranger"}, "the login was refused"),
        ({"HostName": "board.invalid"}, "its name cannot be resolved"),
    ],
)
def test_no_connection(
    server: Server, start: Start, tmp_path: Path, model: Path, changes: dict[str, str], said: str
) -> None:
    write_config(tmp_path / "config", server.folder, changes)
    write_ssh(tmp_path / "bin", tmp_path / "config")
    line = failed(start("bench", model, "--device", server.name, *QUICK))
    assert f"{server.name}: {said}" in line
    assert not leftovers(tmp_path)


def test_host_out_of_reach(server: Server, start: Start, tmp_path: Path, model: Path) -> None:
    """A network of its own has no way to anybody."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(ssh.read_text().replace("exec ", "exec unshare --map-root-user --net "))
    said = failed(start("bench", model, "--device", server.name, *QUICK))
    if "unshare" in said:
        pytest.skip("needs user namespaces")
    assert f"{server.name}: it cannot be reached\nhint: check the network" in said


def test_host_that_does_not_answer(
    server: Server, start: Start, tmp_path: Path, model: Path
) -> None:
    """It takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = failed(start("bench", model, "--device", f"ssh://board:{port}", *QUICK))
    assert "it does not answer\nhint: check that it is on and reachable" in line


def test_python_or_runtime_missing(server: Server, start: Start, tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    nowhere = f"ssh://board:{server.port}/no/python"
    assert "there is no /no/python there" in failed(start("bench", model, "--device", nowhere))
    missing = ("--runtime", "tflite-runtime")
    line = failed(start("bench", model, "--device", server.name, *missing, *QUICK))
    assert "no tflite-runtime under" in line
    assert "install it there" in line
    assert not leftovers(tmp_path)


@pytest.fixture
def small_disk(server: Server) -> Iterator[None]:
    """A file system of 96 KiB where our files go on the device; the runner alone fits."""
    folder = server.home / ".cache" / "edgeconv"
    folder.mkdir(parents=True, exist_ok=True)
    mount = f"mount -t tmpfs -o size=96k none {folder} && echo mounted && exec cat"
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        if holder.stdout.readline() != "mounted\n":
            pytest.skip("needs user namespaces")
        enter = f"nsenter --target {holder.pid} --user --mount --preserve-credentials"
        server.use_shell(f'exec {enter} sh -c \'cd {server.home} && exec sh -c "$1"\' sh "$1"\n')
        yield
        holder.stdin.close()


@pytest.mark.usefixtures("small_disk")
def test_disk_of_the_device_is_full(server: Server, start: Start, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "m.onnx", shape=(1, 9999, 16, 16))
    line = failed(start("bench", model, "--device", server.name, *QUICK))
    assert f"{server.name}: its disk is full\nhint: free some space there" in line
    assert not leftovers(tmp_path)
    small = write_onnx(tmp_path / "m.onnx")
    process = start("bench", small, "--device", server.name, *QUICK)
    assert "onnxruntime" in process.communicate(timeout=300)[0]


def test_device_out_of_memory(server: Server, start: Start, tmp_path: Path) -> None:
    """4 GiB of address space, and a model whose input takes as much."""
    server.use_shell(f'ulimit -v {4 << 20}; exec sh -c "$1"\n')
    model = write_tflite(tmp_path / "m.tflite", shape=(1, 1 << 14, 1 << 8, 1 << 8))
    line = failed(start("bench", model, "--device", server.name, *QUICK))
    assert re.search("memory|alloc", line), line
    wait_until(lambda: not server.runners())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted(
    server: Server, start: Start, tmp_path: Path, number: signal.Signals, model: Path
) -> None:
    """Ctrl-C, a polite kill and a rude one. Nothing keeps running there, and it goes on."""
    out = tmp_path / "r.json"
    partial = out.with_name(out.name + SUFFIX)
    slow = ("--runs", "20", "--seconds", "2", "--warmup", "0", "--repetitions", "3")
    process = start("bench", model, "--device", server.name, *slow, "--retries", "0", "-o", out)
    wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") >= 2, 300)
    process.send_signal(number)
    if number is signal.SIGKILL:
        process.communicate()
    else:
        line = failed(process, 128 + number)
        assert "interrupted; " in line
        assert f"edgeconv bench --resume {shlex.quote(str(partial))}" in line
    wait_until(lambda: not server.runners())
    assert not out.exists()
    kept = Journal.open(partial).finished[0].run
    again = start("bench", "--resume", partial)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    result = BenchResult.load(out)
    assert result.models[0].processes[0] == kept
    assert len(result.models[0].processes) == 3
    assert not partial.exists()


def test_an_unfinished_result_is_not_overwritten(
    server: Server, start: Start, tmp_path: Path, model: Path
) -> None:
    out = tmp_path / "r.json"
    out.with_name(out.name + SUFFIX).write_text("x")
    assert "--resume" in failed(start("bench", model, "-o", out, *QUICK), 2)


def shim(tmp_path: Path, body: str) -> Path:
    """A Python for the device: ``body`` is executed before it runs what it is asked to."""
    script, python = tmp_path / "shim.py", tmp_path / "python"
    script.write_text(
        "import os, runpy, subprocess, sys, time\nsys.argv = sys.argv[2:]\n"
        + textwrap.dedent(body)
        + "\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I {script} "$@"\n')
    python.chmod(0o755)
    return python


def test_clock_jumps(server: Server, start: Start, tmp_path: Path, model: Path) -> None:
    """The time of day on the device goes back and forth by days: no duration comes from it."""
    jumping = """
        now = time.time
        time.time = lambda: now() + (int(now() * 1e6) % 7 - 3) * 86400.0
        time.time_ns = lambda: int(time.time() * 1e9)
    """
    device = f"ssh://board:{server.port}{shim(tmp_path, jumping)}"
    out = tmp_path / "r.json"
    before = time.monotonic()
    process = start("bench", model, "--device", device, *QUICK, "-o", out)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    most = (time.monotonic() - before) * 1e9
    for run in BenchResult.load(out).models[0].processes:
        assert 0 < sum(run.samples_ns) <= run.elapsed_ns < most


def test_a_fast_wrong_model(server: Server, start: Start, tmp_path: Path, model: Path) -> None:
    """A runtime whose kernels are broken: its outputs are another network's."""
    wrong = """
        from ai_edge_litert import interpreter
        right = interpreter.Interpreter.get_tensor
        interpreter.Interpreter.get_tensor = lambda self, index: right(self, index)[..., ::-1]
    """
    device = f"ssh://board:{server.port}{shim(tmp_path, wrong)}"
    line = failed(start("bench", model, "--device", device, *QUICK))
    assert "computes something else than on this machine" in line
    assert not leftovers(tmp_path)


LIES = {
    "not JSON": "'\\x1b[2J rm -rf /'",
    "another event": "line.replace('\"start\"', '\"reboot\"')",
    "a negative time": "line.replace('\"ns\":', '\"ns\":-')",
    "no time at all": "re.sub(r'\"ns\":\\d+', '\"ns\":0', line)",
    "a number without end": "re.sub(r'\"ns\":\\d+', '\"ns\":' + '9' * 400, line)",
    "not a number": "re.sub(r'\"load_average\":[^,]+', '\"load_average\":NaN', line)",
    "an unknown field": "line.replace('{', '{\"path\":\"../../x\",', 1)",
    "another hash than its bytes have": "re.sub('[0-9a-f]{64}', '0' * 64, line)",
    "a line without end": "line.strip() + ' ' * (5 << 20) + chr(10)",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_device_that_lies(
    server: Server, start: Start, tmp_path: Path, model: Path, lie: str
) -> None:
    """Nothing that a device says is believed: one printable line refuses it."""
    lying = f"""
        if not sys.argv[-1].isdigit():  # the lock's argument is its lease
            import re
            real = subprocess.Popen([sys.executable, "-I", *sys.argv], stdout=-1, text=True)
            for line in real.stdout:
                sys.stdout.write({LIES[lie]})
                sys.stdout.flush()
            os._exit(0)
    """
    device = f"ssh://board:{server.port}{shim(tmp_path, lying)}"
    failed(start("bench", model, "--device", device, *QUICK))
    assert not leftovers(tmp_path)
