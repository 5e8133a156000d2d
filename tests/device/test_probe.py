"""The probe on this machine, and what is concluded from facts."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import Artifact, Bundle, Format, Precision
from edgeconv.cli.devices_command import command
from edgeconv.device import open_device
from edgeconv.device.facts import DeviceFacts, PythonFacts, parse_facts, why_not
from edgeconv.device.local import LocalDevice
from edgeconv.errors import MeasurementError
from edgeconv.runner import PROBE
from support.board_facts import PI4

pytestmark = pytest.mark.device


def artifact(kind: Format, lowest: str) -> Artifact:
    return Artifact(
        path=f"m.{kind.value}",
        format=kind,
        precision=Precision.INT8,
        bytes=1,
        sha256="",
        opset=None,
        operators={},
        lowest_runtime=lowest,
        inputs=(),
        outputs=(),
        float_fallback=(),
        verification=None,
    )


def python(version: str = "3.11.2", **packages: str) -> PythonFacts:
    named = {name.replace("_", "-"): value for name, value in packages.items()}
    return PythonFacts(executable="/usr/bin/python3", version=version, packages=named)


def test_probe_is_python_3_8() -> None:
    ast.parse(PROBE.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_this_machine() -> None:
    facts = open_device("local").probe()
    assert facts.cores == os.cpu_count()
    assert facts.bits == 64
    own = next(p for p in facts.pythons if Path(p.executable).samefile(sys.executable))
    assert own.version == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "ai-edge-litert", "onnxruntime"} <= own.packages.keys()


@pytest.mark.skipif("EDGECONV_TFLITE214" not in os.environ, reason="needs EDGECONV_TFLITE214")
def test_another_python() -> None:
    facts = open_device(f"local:{os.environ['EDGECONV_TFLITE214']}").probe()
    assert facts.pythons[0].packages["tflite-runtime"] == "2.14.0"


def test_a_pi_4_by_its_part_number() -> None:
    facts = DeviceFacts.model_validate(PI4)
    assert facts.cpu_name == "Cortex-A72"
    assert facts.useful_features == ("NEON",)


@pytest.mark.parametrize(
    ("kind", "lowest", "there", "reason"),
    [
        (Format.TFLITE, "tflite-runtime 2.5.0", python(numpy="2.1", ai_edge_litert="2.3.0"), None),
        (
            Format.TFLITE,
            "tflite-runtime 2.5.0",
            python(numpy="1.26", tflite_runtime="2.14.0"),
            None,
        ),
        (
            Format.TFLITE,
            "tflite-runtime 2.5.0",
            python(numpy="2.1", tflite_runtime="2.14.0"),
            "tflite-runtime 2.14.0 does not import with NumPy 2.1",
        ),
        (
            Format.TFLITE,
            "ai-edge-litert 1.0.1",
            python(numpy="1.26", tflite_runtime="2.14.0"),
            "it needs ai-edge-litert 1.0.1, tflite-runtime 2.14.0 is installed",
        ),
        (
            Format.TFLITE,
            "ai-edge-litert 2.10.0",
            python(numpy="1.26", ai_edge_litert="2.9.1"),
            "it needs ai-edge-litert 2.10.0, ai-edge-litert 2.9.1 is installed",
        ),
        (
            Format.TFLITE,
            "newer than ai-edge-litert 2.3.0 (ADD version 99)",
            python(numpy="1.26", ai_edge_litert="2.3.0"),
            "it needs a runtime newer than ai-edge-litert 2.3.0 (ADD version 99)",
        ),
        (
            Format.TFLITE,
            "tflite-runtime 2.5.0",
            python(numpy="1.26", onnxruntime="1.20"),
            "ai-edge-litert or tflite-runtime is not installed",
        ),
        (Format.ONNX, "onnxruntime 1.14", python(numpy="2.0", onnxruntime="1.14.1"), None),
        (
            Format.ONNX,
            "onnxruntime 1.19",
            python(numpy="2.0", onnxruntime="1.9.0"),
            "it needs onnxruntime 1.19, onnxruntime 1.9.0 is installed",
        ),
        (Format.ONNX, "onnxruntime 1.14", python(numpy="2.0"), "onnxruntime is not installed"),
        (Format.ONNX, "onnxruntime 1.14", python(), "NumPy is not installed"),
        (Format.ONNX, "onnxruntime 1.14", python("3.7.3"), "Python 3.7.3 is older than 3.8"),
    ],
)
def test_why_not(kind: Format, lowest: str, there: PythonFacts, reason: str | None) -> None:
    assert why_not(artifact(kind, lowest), there) == reason


@given(st.sampled_from(sorted(PI4)), st.sampled_from([{}, [1], "\x1b" * 5000, -1, float("inf")]))
def test_an_answer_that_is_not_the_probes(field: str, value: Any) -> None:
    """Rejected with one line, or harmless: nothing that is shown keeps a control character."""
    try:
        shown = repr(parse_facts(json.dumps(PI4 | {field: value}), "ssh://pi"))
    except MeasurementError as error:
        shown = str(error)
    assert shown.isprintable()


def test_a_probe_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'SyntaxError: too old' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(MeasurementError, match=r"status 1; its last words: SyntaxError: too old"):
        LocalDevice("local:old", script).probe()


def test_command() -> None:
    shown = CliRunner().invoke(command, ["probe"], catch_exceptions=False).output
    for word in ("CPU", "Cores", "Memory", "System", f"Python {sys.version.split()[0]}"):
        assert word in shown
    reported = (
        CliRunner().invoke(command, ["probe", "local", "--json"], catch_exceptions=False).output
    )
    facts = json.loads(reported)
    assert facts.pop("schema_version") == 1
    assert facts.pop("files") is None  # without --bundle
    assert DeviceFacts.model_validate(facts).cores == os.cpu_count()


def test_the_json_has_what_the_table_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a board without a present frequency, as an emulated one."""
    facts = DeviceFacts.model_validate(PI4 | {"frequency_hz": None})
    device = SimpleNamespace(probe=lambda: facts)
    monkeypatch.setattr("edgeconv.device.open_device", lambda name: device)
    shown = CliRunner().invoke(command, ["probe", "x"], catch_exceptions=False).output
    assert "Cortex-A72" in shown
    assert "600 to 1800 MHz" in shown
    assert max(map(len, shown.splitlines())) <= 80
    reported = CliRunner().invoke(command, ["probe", "x", "--json"], catch_exceptions=False).output
    assert json.loads(reported)["cpu"] == "Cortex-A72"


def test_a_python_outside_of_path(tmp_path: Path) -> None:
    venv.create(tmp_path / "other", symlinks=True)
    other = str(tmp_path / "other" / "bin" / "python3")
    asked = [sys.executable, "-I", str(PROBE), other]
    reported = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    executables = [python.executable for python in parse_facts(reported, "local").pythons]
    assert executables[:2] == [sys.executable, other]


def test_verdicts_on_a_bundle_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = SimpleNamespace(
        manifest=SimpleNamespace(artifacts=[artifact(Format.ONNX, "onnxruntime 99.0")])
    )
    monkeypatch.setattr(Bundle, "load", lambda path: loaded)
    arguments = ["probe", "local", "--bundle", str(tmp_path), "--json"]
    reported = json.loads(CliRunner().invoke(command, arguments, catch_exceptions=False).output)
    assert {verdict["file"] for verdict in reported["files"]} == {"m.onnx"}
    assert any("it needs onnxruntime 99.0" in v["reason"] for v in reported["files"])


MANY = [f"p{number}" for number in range(101)]


@pytest.mark.parametrize(
    "lie",
    [
        {"temperature_c": float("nan")},
        {"temperature_c": float("inf")},
        {"load_average": float("nan")},
        {"pythons": [{"executable": "p", "version": "3.9", "packages": {}}] * 101},
        {"pythons": [{"executable": "p", "version": "3", "packages": dict.fromkeys(MANY, "1")}]},
        {"cores": -1},
    ],
    ids=lambda lie: str(lie)[:30],
)
def test_facts_that_cannot_be(lie: dict[str, Any]) -> None:
    with pytest.raises(MeasurementError, match="answer is invalid"):
        parse_facts(json.dumps(PI4 | lie), "ssh://pi")
