"""The local device: what comes back, and what happens when the runner does not behave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from edgeconv.device import RunRequest, open_device
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Done, Samples, Start
from edgeconv.errors import MeasurementError, UsageError
from support.tiny_models import write_tflite

pytestmark = pytest.mark.device

QUICK = {"warmup_seconds": 0.0, "warmup_runs": 1, "min_runs": 5, "min_seconds": 0.0}


def fake(tmp_path: Path, body: str) -> LocalDevice:
    """A device whose Python runs ``body`` whatever it is asked to run. ``body`` may use ``pids``,
    a file to leave its process id in."""
    script = tmp_path / "python"
    source = textwrap.dedent(body)
    head = f"import json, os, signal, sys, time\npids = {str(tmp_path / 'pids')!r}\n"
    script.write_text(f"#!{sys.executable}\n{head}{source}")
    script.chmod(0o755)
    return LocalDevice("local:fake", script)


def said_by(device: LocalDevice, *, deadline_seconds: int = 60) -> str:
    request = RunRequest(model="/m.tflite", deadline_seconds=deadline_seconds)
    with pytest.raises(MeasurementError) as caught:
        list(device.run(request))
    message = str(caught.value)
    assert "\n" not in message
    return message


def is_alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(path.read_text())


def test_yields_validated_events(tmp_path: Path) -> None:
    device = open_device("local")
    model = device.place(write_tflite(tmp_path / "m.tflite"))
    events = list(device.run(RunRequest(model=model, **QUICK)))
    assert isinstance(events[0], Start)
    assert any(isinstance(event, Samples) for event in events)
    assert isinstance(events[-1], Done)


def test_another_python(tmp_path: Path) -> None:
    device = open_device(f"local:{sys.executable}")
    assert device.name == f"local:{sys.executable}"
    model = device.place(write_tflite(tmp_path / "m.tflite"))
    assert list(device.run(RunRequest(model=model, **QUICK)))


@pytest.mark.skipif("EDGECONV_TFLITE214" not in os.environ, reason="needs EDGECONV_TFLITE214")
def test_a_python_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell reads a tilde that follows a colon."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "python").symlink_to(sys.executable)
    assert LocalDevice.parse("local:~/python").python == tmp_path / "python"


def test_tflite_runtime_2_14(tmp_path: Path) -> None:
    device = open_device(f"local:{os.environ['EDGECONV_TFLITE214']}")
    model = device.place(write_tflite(tmp_path / "m.tflite", dtype="int8"))
    start, *_, done = device.run(RunRequest(model=model, **QUICK))
    assert isinstance(start, Start)
    assert isinstance(done, Done)
    assert start.runtime.value == "tflite-runtime"


@pytest.mark.parametrize("name", ["local:/no/such/python", "pi", "", "ssh:", "local:/tmp"])
def test_no_such_device(name: str) -> None:
    with pytest.raises(UsageError):
        open_device(name)


def test_last_words_of_a_crash(tmp_path: Path) -> None:
    message = said_by(
        fake(
            tmp_path,
            """
            print("INFO: chatter", file=sys.stderr)
            print("terminate: \\x1b[31mbad_alloc", file=sys.stderr, flush=True)
            print("INFO: more chatter", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
            """,
        )
    )
    assert "crashed (SIGSEGV) before it started" in message
    assert message.endswith("its last words: terminate: \\x1b[31mbad_alloc")


def test_killed_for_memory(tmp_path: Path) -> None:
    body = """
        print('{"event":"load","ns":1}', flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    message = said_by(fake(tmp_path, body))
    assert "killed (SIGKILL, often for lack of memory) in the first inference" in message


def test_ends_early_without_a_word(tmp_path: Path) -> None:
    assert "ended with status 7" in said_by(fake(tmp_path, "sys.exit(7)"))


def test_a_python_too_old(tmp_path: Path) -> None:
    body = 'sys.stderr.write("  x: int\\n     ^\\nSyntaxError: invalid syntax\\n"); sys.exit(1)'
    assert "its last words: SyntaxError: invalid syntax" in said_by(fake(tmp_path, body))


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "{}",
        '{"event":"samples","ns":[-1]}',
        '{"event":"samples","ns":[1.5]}',
        '{"event":"samples","ns":[1],"more":1}',
        '{"event":"first","ns":"' + "9" * 30 + '"}',
        '{"event":"nothing"}',
        "[" * 100_000,
    ],
)
def test_events_that_are_none(tmp_path: Path, line: str) -> None:
    body = f"print({line!r}, flush=True); time.sleep(60)"
    assert "invalid event" in said_by(fake(tmp_path, body))


def test_endless_line(tmp_path: Path) -> None:
    body = "while True: sys.stdout.write('x' * 100000)"
    assert "a line of more than 4 MiB" in said_by(fake(tmp_path, body))


def test_flood_on_standard_error(tmp_path: Path) -> None:
    body = "sys.stderr.write('noise\\n' * 300000); sys.stderr.write('the end'); sys.exit(3)"
    assert said_by(fake(tmp_path, body)).endswith("its last words: the end")


@pytest.mark.parametrize(
    "sent",
    ["sys.stderr.write('noise\\n')", 'print(\'{"event":"samples","ns":[1]}\', flush=True)'],
)
def test_what_never_ends_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str
) -> None:
    """Standard error has no limit, and a slow answer stays below it."""
    monkeypatch.setattr("edgeconv.device.local.GRACE_SECONDS", -0.5)
    body = f"while True: {sent}; time.sleep(0.001)"
    assert "did not end within" in said_by(fake(tmp_path, body), deadline_seconds=1)


def test_a_line_that_comes_byte_by_byte(tmp_path: Path) -> None:
    body = """
        line = b'{"event":"error","kind":"x","message":"' + b"y" * 20000 + b'"}'
        for index in range(len(line)):
            os.write(1, line[index : index + 1])
    """
    assert "invalid event" in said_by(fake(tmp_path, body))


def test_failure_in_its_own_words(tmp_path: Path) -> None:
    body = """print('{"event":"error","kind":"x","message":"too \\\\u001b[2J bad"}', flush=True)"""
    assert said_by(fake(tmp_path, body)) == "local:fake: too \\x1b[2J bad"


def test_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeconv.device.local.GRACE_SECONDS", -0.5)
    body = "open(pids, 'w').write(str(os.getpid())); time.sleep(100)"
    device = fake(tmp_path, body)
    assert "did not end within" in said_by(device, deadline_seconds=1)
    assert not is_alive(wait_for(tmp_path / "pids"))


def test_closing_early_leaves_no_process(tmp_path: Path) -> None:
    """Nor a child of it."""
    body = """
        if os.fork() == 0:
            open(pids, "w").write(str(os.getpid()))
            time.sleep(100)
        print('{"event":"load","ns":1}', flush=True)
        time.sleep(100)
    """
    events = fake(tmp_path, body).run(RunRequest(model="m"))
    next(events)
    child = wait_for(tmp_path / "pids")
    events.close()
    deadline = time.monotonic() + 10
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_host_dies(tmp_path: Path, number: signal.Signals) -> None:
    """The runner ends with the host, even if the host had no time to end it."""
    model = write_tflite(tmp_path / "m.tflite")
    script = f"""
import json, os, signal
from edgeconv.device import RunRequest, open_device
import subprocess
real = subprocess.Popen
def noted(*args, **kwargs):
    process = real(*args, **kwargs)
    open({str(tmp_path / "pid")!r}, "w").write(str(process.pid))
    return process
subprocess.Popen = noted
for event in open_device("local").run(RunRequest(model={str(model)!r}, min_seconds=50.0)):
    pass
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as host:
        runner = wait_for(tmp_path / "pid")
        time.sleep(0.2)
        host.send_signal(number)
        host.wait(30)
    deadline = time.monotonic() + 20
    while is_alive(runner):
        assert time.monotonic() < deadline
        time.sleep(0.01)
