"""``edgeconv export --target``: the probe comes first, and what is written runs on the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.bundle import Bundle, Format
from edgeconv.cli import cli
from edgeconv.device import RunRequest, open_device
from edgeconv.device.emulated import BOARDS
from edgeconv.device.emulated import Server as Emulator
from edgeconv.device.emulated.requirements import missing_packages, session_obstacle
from edgeconv.device.facts import DeviceFacts, target_of, why_not
from edgeconv.device.messages import Done, Instructions
from edgeconv.errors import MeasurementError, UsageError
from support.board_facts import PI4
from support.command_line import as_printed
from support.ssh_server import Server, write_ssh
from support.tiny_models import write_onnx

pytestmark = pytest.mark.device

MISSING = missing_packages()
OBSTACLE = f"needs {', '.join(MISSING)}" if MISSING else session_obstacle()
OLD_PYTHON = os.environ.get("EDGECONV_TFLITE214", "")
needs_old_python = pytest.mark.skipif(not OLD_PYTHON, reason="needs EDGECONV_TFLITE214")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_onnx(tmp_path / "tiny.onnx")


def export(model: Path, device: str, *arguments: str) -> tuple[Bundle, str, str]:
    """The bundle, what was printed, and the notes."""
    out = model.with_name("out")
    command = ["export", str(model), "--input-size", "16", "-o", str(out), "--target", device]
    command += ["--batch", "1"]  # which the file leaves open
    done = CliRunner().invoke(
        cli, [*command, *arguments], catch_exceptions=False, standalone_mode=False
    )
    return Bundle.load(out), done.stdout, done.stderr


def refusal(model: Path, device: str, *arguments: str) -> str:
    with pytest.raises((UsageError, MeasurementError)) as refused:
        export(model, device, *arguments)
    assert not model.with_name("out").exists()
    assert refused.value.message.isprintable()
    assert refused.value.hint.isprintable()
    return as_printed(refused.value)


def board(tmp_path: Path, version: str = "3.11.2", **packages: str) -> str:
    """A device whose Python answers the probe as a Pi 4 with these packages would."""
    named = {name.replace("_", "-"): release for name, release in packages.items()}
    python = {"executable": "/usr/bin/python3", "version": version, "packages": named}
    (tmp_path / "facts.json").write_text(json.dumps(PI4 | {"pythons": [python]}) + "\n")
    script = tmp_path / "board"
    script.write_text(f"#!/bin/sh\ncat '{tmp_path}/facts.json'\n")
    script.chmod(0o755)
    return f"local:{script}"


def facts(*pythons: dict[str, Any]) -> DeviceFacts:
    return DeviceFacts.model_validate(PI4 | {"pythons": pythons})


def runs_there(bundle: Bundle, device: str) -> bool:
    """Every file, in the device's own process."""
    opened = open_device(device)
    python = opened.probe().pythons[0]
    for artifact in bundle.manifest.artifacts:
        assert why_not(artifact, python) is None
        request = RunRequest(
            model=opened.place(bundle.file(artifact)), warmup_seconds=0, min_runs=1, min_seconds=0
        )
        *_, last = opened.run(request)
        assert isinstance(last, (Done, Instructions))
    return True


def test_this_machine_runs_both(model: Path) -> None:
    bundle, summary, note = export(model, "local")
    assert [a.format for a in bundle.manifest.artifacts] == [Format.ONNX, Format.TFLITE]
    assert note.startswith("note: for local (")
    assert "ONNX up to opset 23 for onnxruntime" in note
    assert "TFLite for ai-edge-litert" in note
    (_, then) = note.splitlines()
    assert then.startswith("next: edgeconv bench ")
    assert "note:" not in summary
    target = bundle.manifest.target
    assert target is not None
    assert (target.device, target.unusable) == ("local", {})
    assert target.runtimes.keys() == {"onnxruntime", "ai-edge-litert"}
    assert runs_there(bundle, "local")


@needs_old_python
def test_tflite_runtime_214_alone(model: Path) -> None:
    device = f"local:{OLD_PYTHON}"
    bundle, _, note = export(model, device, "--calibration", "random", "--calibration-size", "4")
    assert [a.path for a in bundle.manifest.artifacts] == [
        "tiny_float32.tflite",
        "tiny_int8.tflite",
    ]
    assert "TFLite for tflite-runtime 2.14.0; no ONNX: onnxruntime is not installed" in note
    assert runs_there(bundle, device)


@needs_old_python
def test_what_is_stated_and_does_not_run_there(model: Path) -> None:
    message = refusal(model, f"local:{OLD_PYTHON}", "--format", "onnx")
    assert "onnxruntime is not installed\nhint: " in message
    assert "install a current onnxruntime there with pip" in message
    assert message.endswith("or pass only --format tflite")


def test_a_board_with_an_old_onnxruntime(model: Path, tmp_path: Path) -> None:
    device = board(tmp_path, numpy="1.24.2", onnxruntime="1.16.3")
    bundle, printed, note = export(model, device, "--json")
    (artifact,) = bundle.manifest.artifacts
    assert (artifact.format, artifact.opset) == (Format.ONNX, 18)
    assert "ONNX up to opset 19 for onnxruntime 1.16.3; no TFLite: neither" in note
    assert why_not(artifact, open_device(device).probe().pythons[0]) is None
    reported = json.loads(printed)["target"]
    assert reported == {
        "device": device,
        "architecture": "aarch64",
        "bits": 64,
        "features": ["NEON"],
        "python": "3.11.2",
        "runtimes": {"onnxruntime": "1.16.3"},
        "unusable": {},
    }


def test_an_opset_that_an_old_onnxruntime_lacks(model: Path, tmp_path: Path) -> None:
    device = board(tmp_path, numpy="1.24.2", onnxruntime="1.16.3")
    message = refusal(model, device, "--opset", "20")
    assert "loads opsets up to 19, not 20" in message
    assert "pass --opset 19" in message  # the name in Python, as of every str() of an error


def test_quiet_is_quiet(model: Path, tmp_path: Path) -> None:
    device = board(tmp_path, numpy="1.24.2", onnxruntime="1.16.3")
    assert export(model, device, "--quiet")[1:] == ("", "")


def test_a_board_without_runtimes(model: Path, tmp_path: Path) -> None:
    message = refusal(model, board(tmp_path, numpy="1.24.2"))
    assert "onnxruntime is not installed, and neither ai-edge-litert nor tflite-runtime" in message


def test_a_board_whose_runtime_does_not_import(model: Path, tmp_path: Path) -> None:
    message = refusal(model, board(tmp_path, numpy="2.1.0", tflite_runtime="2.14.0"))
    assert "tflite-runtime 2.14.0 does not import with NumPy 2.1.0" in message


def test_over_ssh(model: Path, server: Server) -> None:
    bundle, _, note = export(model, server.name)
    assert note.startswith(f"note: for {server.name} (")
    assert bundle.manifest.target is not None
    assert bundle.manifest.target.device == server.name
    assert runs_there(bundle, server.name)


@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
def test_an_emulated_board_of_32_bits(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    try:
        bundle, _, note = export(model, "emulated:pi3-32")
        assert runs_there(bundle, "emulated:pi3-32")
    finally:
        Emulator(BOARDS["pi3-32"]).down()
    assert "(armv7l): TFLite for tflite-runtime 2.14.0; no ONNX" in note
    assert [artifact.format for artifact in bundle.manifest.artifacts] == [Format.TFLITE]
    assert bundle.manifest.target is not None
    assert bundle.manifest.target.bits == 32


def test_over_ssh_without_a_runtime(model: Path, server: Server, tmp_path: Path) -> None:
    script = board(tmp_path, numpy="1.24.2").removeprefix("local:")
    device = f"ssh://board:{server.port}{script}"
    message = refusal(model, device)
    assert f"`edgeconv devices provision {device}`, which installs the current runtimes" in message


def test_a_name_of_devices_toml(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board(tmp_path, numpy="1.24.2", onnxruntime="1.16.3")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeconv").mkdir()
    (tmp_path / "edgeconv" / "devices.toml").write_text(f'[devices]\nkitchen = "{device}"\n')
    target = export(model, "kitchen")[0].manifest.target
    assert target is not None
    assert target.device == device


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (
            "ssh://127.0.0.1:1",
            "nothing listens there\nhint: start its SSH server or check the port",
        ),
        ("local:/no/python", "/no/python is not an executable"),
        ("nowhere", "no device 'nowhere'"),
    ],
)
def test_out_of_reach(
    model: Path, device: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported at once: nothing heavy is loaded before."""
    # ssh finds the user's configuration in the real home, whatever HOME is.
    write_ssh(tmp_path / "bin", Path(os.devnull))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program = (
        "import sys, edgeconv.cli\n"
        "try:\n    edgeconv.cli.main()\n"
        "finally:\n    print(sorted({'torch', 'onnx', 'onnxruntime'} & sys.modules.keys()))\n"
    )
    command = ["export", str(model), "-o", str(model.with_name("out")), "--target", device]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == "[]\n"
    line, hint = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert hint.startswith("hint: ")
    assert words in done.stderr
    assert not model.with_name("out").exists()


def test_the_facts_of_a_board() -> None:
    own = {
        "executable": "/usr/bin/python3",
        "version": "3.11.2",
        "packages": {"numpy": "2.0.0", "tflite-runtime": "2.14.0", "onnxruntime": "1.20.1"},
    }
    other = {"executable": "/opt/python3", "version": "3.12.1", "packages": {"numpy": "2.0.0"}}
    target = target_of("ssh://pi", facts(own, other))
    assert (target.architecture, target.bits, target.python) == ("aarch64", 64, "3.11.2")
    assert target.runtimes == {"onnxruntime": "1.20.1"}
    broken = "tflite-runtime 2.14.0 does not import with NumPy 2.0.0"
    assert target.unusable == {"tflite-runtime": broken}
    assert target_of("ssh://pi", facts(other, own)).runtimes == {}


@pytest.mark.parametrize(
    ("version", "packages", "reason"),
    [
        ("3.11.2", {"onnxruntime": "1.20.1"}, "NumPy is not installed"),
        ("3.7.3", {"numpy": "1.21.0", "onnxruntime": "1.14.0"}, "Python 3.7.3 is older than 3.8"),
    ],
)
def test_runtimes_that_do_not_work(version: str, packages: dict[str, str], reason: str) -> None:
    python = {"executable": "/usr/bin/python3", "version": version, "packages": packages}
    target = target_of("ssh://pi", facts(python))
    assert (target.runtimes, target.unusable) == ({}, {"onnxruntime": reason})


def test_a_board_without_python() -> None:
    with pytest.raises(MeasurementError, match="ssh://pi has no Python"):
        target_of("ssh://pi", facts())
