"""Several devices side by side: a real SSH server and this machine."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeconv.bench import BenchResult, Journal
from edgeconv.device import open_device
from support.ssh_server import Server, wait_until
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.device

QUICK = ("--runs", "20", "--seconds", "0", "--warmup", "0", "--repetitions", "2", "--retries", "0")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state" / "history.db"
    monkeypatch.setenv("EDGECONV_HISTORY", str(path))
    return path


@pytest.fixture
def second(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[Server]:
    """Another board, which trusts the same user and which the same client knows."""
    other = Server(tmp_path_factory.mktemp("ssh2"), tmp_path_factory.mktemp("home2").resolve())
    (other.folder / "authorized").write_text((server.folder / "user.pub").read_text())
    with (server.folder / "known").open("a") as known:
        known.write((other.folder / "known").read_text())
    other.start()
    try:
        yield other
    finally:
        other.stop()


def start(*given: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from edgeconv.cli import main; main()", "bench", *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("history")
def test_side_by_side(server: Server, second: Server, tmp_path: Path) -> None:
    models = [write_onnx(tmp_path / "a b.onnx"), write_tflite(tmp_path / "-m.tflite")]
    devices = [server.name, second.name, "local"]
    named = [option for device in devices for option in ("--device", device)]
    process = start(*named, *QUICK, "-o", tmp_path / "out", *models)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    lines = out.splitlines()
    places = [lines.index(device) for device in devices]
    assert places == sorted(places)
    results = [BenchResult.load(path) for path in (tmp_path / "out").iterdir()]
    assert sorted(result.device for result in results) == sorted(devices)
    assert {len(result.models) for result in results} == {2}


@pytest.mark.usefixtures("history")
def test_one_fails_and_the_others_count(server: Server, tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    nowhere = f"ssh://board:{server.port}/no/python"
    process = start(model, "--device", nowhere, "--device", server.name, *QUICK, "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "error: 1 of 2 devices failed: " in err
    assert "there is no /no/python there" in err
    (result,) = json.loads(out)
    assert result["device"] == server.name


@pytest.mark.usefixtures("history")
def test_interrupted_before_anything_is_kept(server: Server, tmp_path: Path) -> None:
    """Each device has its name, also the one whose name is in the other's path."""
    model, folder = write_tflite(tmp_path / "m.tflite"), tmp_path / "local"
    slow = ("--seconds", "60", "--warmup", "0", "--retries", "0", "-o", folder)
    process = start(model, "--device", "local", "--device", server.name, *slow)
    wait_until(lambda: len(list(folder.glob("*.partial"))) == 2, 300)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    kept = f"local: nothing is kept; {server.name}: nothing is kept"
    assert err == f"error: interrupted: {kept}\n"
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("history")
def test_interrupted(server: Server, second: Server, tmp_path: Path) -> None:
    """Every device keeps what it has, and nothing runs on."""
    model = write_tflite(tmp_path / "m.tflite", shape=(1, 128, 128, 16))
    folder = tmp_path / "out"
    slow = (
        "--runs",
        "20",
        "--seconds",
        "2",
        "--warmup",
        "0",
        "--repetitions",
        "3",
        "--retries",
        "0",
    )
    process = start(model, "--device", server.name, "--device", second.name, *slow, "-o", folder)

    def begun() -> bool:
        partial = list(folder.glob("*.partial"))
        return len(partial) == 2 and all(p.read_bytes().count(b"\n") >= 2 for p in partial)

    wait_until(begun, 300)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert err.startswith(f"error: interrupted: {server.name}: ")
    assert f"; {second.name}: " in err
    assert "interrupted; " not in err
    assert err.count("--resume") == 2
    wait_until(lambda: not server.runners() and not second.runners())
    assert all(Journal.open(partial).finished for partial in folder.glob("*.partial"))


@pytest.fixture
def pool(server: Server, second: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two boards have names and are a pool."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "edgeconv").mkdir(parents=True)
    (tmp_path / "config" / "edgeconv" / "devices.toml").write_text(
        f'[devices]\none = "{server.name}"\ntwo = "{second.name}"\n[pools]\npi = ["one", "two"]\n'
    )


@contextmanager
def in_use(server: Server) -> Iterator[None]:
    with open_device(server.name).lock(600):
        yield


@pytest.mark.usefixtures("history", "pool")
def test_the_next_free_board_of_a_pool(server: Server, second: Server, tmp_path: Path) -> None:
    model, out = write_tflite(tmp_path / "m.tflite"), tmp_path / "result.json"
    with in_use(server):
        process = start(model, "--device", "pi", *QUICK, "-o", out)
        table, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert "warning" not in err
        assert "m.tflite" in table
        assert BenchResult.load(out).device == second.name
        with in_use(second):
            process = start(model, "--device", "pi", *QUICK, "-o", out)
            _, err = process.communicate(timeout=300)
            assert process.returncode == 1
            assert err.startswith(f"error: {second.name}: another edgeconv (")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.usefixtures("history", "pool")
def test_a_pool_beside_a_device(server: Server, second: Server, tmp_path: Path) -> None:
    """The device gets its board, and the pool one that is left."""
    model, folder = write_tflite(tmp_path / "m.tflite"), tmp_path / "out"
    process = start(model, "--device", "pi", "--device", "one", *QUICK, "-o", folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    lines = out.splitlines()
    assert lines.index("pi: two") < lines.index("one")
    devices = {path.name: BenchResult.load(path).device for path in folder.iterdir()}
    assert devices == {"pi@two.json": second.name, "one.json": server.name}


@pytest.mark.usefixtures("history", "pool")
def test_a_board_in_use_is_waited_for(server: Server, tmp_path: Path) -> None:
    """One that waits alone, and one beside others, which do not wait for it."""
    model = write_tflite(tmp_path / "m.tflite")
    both = ("--device", "one", "--device", "two")
    with in_use(server):
        processes = [
            start(model, *devices, "--wait", "5min", *QUICK)
            for devices in (("--device", "one"), both)
        ]
        for process in processes:
            assert process.stderr is not None
            warning = process.stderr.readline()
            assert warning.startswith(f"warning: waiting: {server.name}: another edgeconv (")
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err


@pytest.mark.usefixtures("history", "pool")
def test_a_board_in_use_fails_alone(server: Server, second: Server, tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    with in_use(server):
        process = start(model, "--device", "one", "--device", "two", *QUICK, "--json")
        out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err.startswith(f"error: 1 of 2 devices failed: one: {server.name}: another edgeconv (")
    assert err.endswith(" is measuring there\nhint: wait until it has ended\n")
    (result,) = json.loads(out)
    assert result["device"] == second.name


@pytest.mark.usefixtures("history", "pool")
@pytest.mark.parametrize("beside", [(), ("--device", "local")])
def test_a_lost_board_gives_its_measurement_back(
    beside: tuple[str, ...], server: Server, second: Server, tmp_path: Path
) -> None:
    """What the lost board has measured stays, and can be continued there."""
    model, out = write_tflite(tmp_path / "m.tflite"), tmp_path / "out"
    quick = ("--runs", "20", "--seconds", "2", "--warmup", "0", "--retries", "0", "-o", out)
    process = start(model, "--device", "pi", *beside, *quick)

    def journals() -> list[Path]:
        return [*tmp_path.glob("out.one.partial"), *out.glob("pi@one.json.partial")]

    wait_until(lambda: any(path.read_bytes().count(b"\n") >= 2 for path in journals()), 300)
    server.lose_power()
    _, err = process.communicate(timeout=300)
    server.start()
    assert process.returncode == 0, err
    (journal,) = journals()
    warning, hint, *_ = err.splitlines()
    assert re.match(r"warning: .*m\.tflite on ssh://board:.* processes? (is|are) kept; ", warning)
    assert warning.endswith("; another board of pi measures instead")
    # Whether the connection broke or none could be made, that can be continued.
    assert hint.startswith("hint: ")
    assert hint.endswith(f"continue with `edgeconv bench --resume {shlex.quote(str(journal))}`")
    results = [out] if out.is_file() else list(out.glob("*.json"))
    devices = {BenchResult.load(path).device for path in results}
    assert second.name in devices
    assert server.name not in devices
    process = start("--resume", journal, "--device", "pi")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert not journals()


@pytest.mark.usefixtures("history", "pool")
def test_interrupted_while_it_waits(server: Server, tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    with in_use(server):
        process = start(model, "--device", "one", "--wait", "5min", *QUICK)
        assert process.stderr is not None
        assert "waiting: " in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert err.strip() == "error: interrupted"


def test_usage(tmp_path: Path) -> None:
    model = write_tflite(tmp_path / "m.tflite")

    def refused(*given: object) -> str:
        process = start(model, *given)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        return err

    assert "named twice" in refused("--device", "local", "--device", "local")
    both = ("--device", "local", "--device", "ssh://pi")
    assert "names a folder" in refused(*both, "-o", model)
    assert "of one device" in refused(*both, "--resume", model)
