"""The SSH device over a real sshd on loopback."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions, measure
from edgeconv.bench.profile.profile import profile
from edgeconv.bundle import sha256_of
from edgeconv.device import RunRequest, Runtime, open_device
from edgeconv.device.messages import Done, Samples
from edgeconv.device.ssh import GRACE_SECONDS, SshDevice
from edgeconv.errors import MeasurementError, UsageError
from support.ssh_server import Server, processes_with, wait_until, write_config, write_ssh
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.device

QUICK = {"warmup_seconds": 0.0, "warmup_runs": 1, "min_runs": 5, "min_seconds": 0.0}


def failure(device: str, server: Server) -> str:
    with pytest.raises(MeasurementError) as caught:
        open_device(device).probe()
    assert caught.value.message.startswith(device)
    assert "\n" not in caught.value.message
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("ssh://pi", SshDevice("ssh://pi", "pi")),
        ("ssh://me@Pi.local:2222", SshDevice("ssh://me@Pi.local:2222", "Pi.local", "me", 2222)),
        ("ssh://[fe80::1]:22", SshDevice("ssh://[fe80::1]:22", "fe80::1", None, 22)),
        ("ssh://pi/opt/py", SshDevice("ssh://pi/opt/py", "pi", python="/opt/py")),
    ],
)
def test_address(name: str, device: SshDevice) -> None:
    assert open_device(name) == device


@pytest.mark.parametrize(
    "name",
    [
        *("ssh://", "ssh:pi", "ssh://-oProxyCommand=x", "ssh://-l@pi", "ssh://pi:99999"),
        *("ssh://a b", "ssh://pi;reboot", "ssh://pi\n", "ssh://pi:x", "ssh://$(x)"),
    ],
)
def test_address_that_is_none(name: str) -> None:
    with pytest.raises(UsageError):
        open_device(name)


def test_probe(server: Server) -> None:
    facts = open_device(server.name).probe()
    assert facts.cores == os.cpu_count()
    assert "onnxruntime" in facts.pythons[0].packages


def test_measure(server: Server, tmp_path: Path) -> None:
    models = [write_onnx(tmp_path / "odd '$(name)'.onnx"), write_tflite(tmp_path / "m.tflite")]
    options = BenchOptions(runs=20, seconds=0, warmup=0, repetitions=2)
    there = measure(models, options, open_device(server.name))
    here = measure(models, options, open_device("local"))
    assert there.device == server.name
    for remote, local in zip(there.models, here.models, strict=True):
        assert [len(s) >= 20 for s in remote.samples] == [True, True]
        assert remote.processes[0].outputs == local.processes[0].outputs
    wait_until(lambda: not processes_with(str(server.home)))


def test_files_are_sent_once_and_named_by_their_hash(server: Server, tmp_path: Path) -> None:
    device = open_device(server.name)
    model = write_tflite(tmp_path / "m.tflite")
    remote = server.home / device.place(model)
    assert remote.read_bytes() == model.read_bytes()
    assert remote.stem.isalnum()
    before = remote.stat().st_mtime_ns
    open_device(server.name).place(model)
    assert remote.stat().st_mtime_ns == before
    remote.write_bytes(b"cut")
    open_device(server.name).place(model)
    assert remote.read_bytes() == model.read_bytes()
    assert not list(remote.parent.glob("*.part"))


def test_operators_leave_no_file_of_theirs(server: Server, tmp_path: Path) -> None:
    """Also when the runtime is missing there. What was sent before stays."""
    device = open_device(server.name)
    model = write_tflite(tmp_path / "m.tflite", shape=(1, 5, 5, 3))
    kept = write_tflite(tmp_path / "kept.tflite", shape=(1, 3, 3, 1))
    device.place(kept)
    folder = server.home / ".cache/edgeconv"
    before = set(folder.iterdir())
    options = BenchOptions(runs=3, warmup=0)
    (profiled,) = profile([model], options, device).models
    assert [operator.operator for operator in profiled.operators] == ["ADD"]
    missing = BenchOptions(runs=3, warmup=0, runtime=Runtime.TFLITE_RUNTIME)
    with pytest.raises(MeasurementError, match="no tflite-runtime"):
        profile([model], missing, device)
    assert {path for path in folder.iterdir() if path.suffix == ".tflite"} <= before


def test_files_that_cannot_be_removed(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = open_device(server.name)
    model = write_tflite(tmp_path / "m.tflite", shape=(1, 7, 5, 3))
    device.place(model)
    server.use_shell("exit 1\n")
    device.remove([model])
    assert "temporary files stay in .cache/edgeconv" in caplog.text


def test_python_is_missing(server: Server) -> None:
    assert "there is no /no/python there" in failure(f"ssh://board:{server.port}/no/python", server)


def test_python_is_quoted(server: Server) -> None:
    failure(f"ssh://board:{server.port}/x; touch {server.home}/hacked", server)
    assert not (server.home / "hacked").exists()


def test_runtime_is_missing(server: Server, tmp_path: Path) -> None:
    device = open_device(server.name)
    model = device.place(write_tflite(tmp_path / "m.tflite"))
    request = RunRequest(model=model, runtime="tflite-runtime", **QUICK)
    with pytest.raises(MeasurementError, match="no tflite-runtime under"):
        list(device.run(request))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"UserKnownHostsFile": "/dev/null"}, "its host key is unknown"),
        ({"UserKnownHostsFile": "wrong"}, "its host key has changed"),
        ({"IdentityFile": "stranger"}, "the login was refused"),
        ({"HostName": "board.invalid"}, "its name cannot be resolved"),
        ({"Port": "1"}, "nothing listens there"),
        ({"ProxyCommand": "sleep 0"}, "the connection failed or broke"),
    ],
)
def test_no_connection(
    sshd: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    said: str,
) -> None:
    (sshd.folder / "wrong").write_text(
        f"[127.0.0.1]:{sshd.port} {(sshd.folder / 'stranger.pub').read_text()}"
    )
    config = tmp_path / "config"
    write_config(config, sshd.folder, changes)
    port = "" if "Port" in changes else f":{sshd.port}"
    write_ssh(tmp_path / "bin", config)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert said in failure(f"ssh://board{port}{sys.executable}", sshd)


def test_no_ssh_on_this_machine(monkeypatch: pytest.MonkeyPatch, sshd: Server) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "ssh is missing on this machine" in failure(sshd.name, sshd)


def long_run(device: SshDevice, model: Path) -> RunRequest:
    return RunRequest(
        model=device.place(model), warmup_seconds=0.0, warmup_runs=0, min_seconds=50.0
    )


def test_connection_cut_in_the_middle(server: Server, tmp_path: Path) -> None:
    device = SshDevice.parse(server.name)
    request = long_run(device, write_tflite(tmp_path / "m.tflite"))
    events = device.run(request)
    kept = next(event for event in events if isinstance(event, Samples))
    (client,) = [
        pid
        for pid in processes_with(f"timeout -k 5 {request.deadline_seconds + GRACE_SECONDS}")
        if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh"
    ]
    os.kill(client, signal.SIGKILL)
    with pytest.raises(MeasurementError):
        list(events)
    assert kept.ns
    wait_until(lambda: not server.runners())


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "killed (SIGKILL"), (signal.SIGSEGV, "crashed (SIGSEGV)")],
)
def test_runner_killed(server: Server, tmp_path: Path, number: signal.Signals, said: str) -> None:
    device = SshDevice.parse(server.name)
    events = device.run(long_run(device, write_tflite(tmp_path / "m.tflite")))
    next(event for event in events if isinstance(event, Samples))
    for pid in server.pythons():
        os.kill(pid, number)
    with pytest.raises(MeasurementError) as caught:
        list(events)
    assert said in str(caught.value)
    assert "in the measurement" in str(caught.value)


def test_closing_early_leaves_nothing_running(server: Server, tmp_path: Path) -> None:
    device = SshDevice.parse(server.name)
    events = device.run(long_run(device, write_tflite(tmp_path / "m.tflite")))
    next(event for event in events if isinstance(event, Samples))
    assert server.runners()
    events.close()
    wait_until(lambda: not server.runners())


def test_device_is_full(server: Server, tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: cat fails in the middle of a file."""
    big = tmp_path / "big.onnx"
    big.write_bytes(bytes(1 << 20))
    device = SshDevice.parse(server.name)
    limited = LimitedDevice(device.name, device.host, device.user, device.port, device.python)
    with pytest.raises(MeasurementError, match=r"File too large|failed there"):
        limited.place(big)
    assert not list(server.home.glob(f".cache/edgeconv/{sha256_of(big)}*"))


class LimitedDevice(SshDevice):
    """Every remote command may write 4 KiB a file."""

    def _command(self, remote: str) -> tuple[str, ...]:
        return super()._command(f"ulimit -f 8; {remote}")


def test_done_is_the_last_event(server: Server, tmp_path: Path) -> None:
    device = SshDevice.parse(server.name)
    model = device.place(write_tflite(tmp_path / "m.tflite"))
    *_, last = device.run(RunRequest(model=model, **QUICK))
    assert isinstance(last, Done)
