"""What a device gets, and the environment that is made there."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgeconv.cli.devices_command import command
from edgeconv.device.facts import DeviceFacts
from edgeconv.device.provision import plan
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.runner import ENVIRONMENT
from support.board_facts import PI4

pytestmark = pytest.mark.device


def facts(version: str = "3.11.2", numpy: str | None = "1.24.2", **changes: Any) -> DeviceFacts:
    packages = {} if numpy is None else {"numpy": numpy}
    python = {"executable": "/usr/bin/python3", "version": version, "packages": packages}
    return DeviceFacts.model_validate(PI4 | {"pythons": [python]} | changes)


def test_64_bits_get_the_runtimes_of_today() -> None:
    planned = plan(facts(numpy=None), "ssh://pi")
    assert set(planned.packages) == {"numpy", "ai-edge-litert", "onnxruntime"}
    assert not planned.system
    assert planned.platforms[0] == "manylinux_2_36_aarch64"
    assert planned.platforms[-1] == "manylinux2014_aarch64"


@pytest.mark.parametrize("kernel", ["armv7l", "aarch64"])
def test_32_bits_get_the_old_one_and_the_systems_numpy(kernel: str) -> None:
    planned = plan(facts(architecture=kernel, bits=32), "ssh://pi")
    assert planned.packages == {"tflite-runtime": "tflite-runtime==2.14.0"}
    assert planned.system
    assert not planned.dependencies
    assert planned.platforms[0] == "manylinux_2_36_armv7l"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bits": 32, "numpy": None, "architecture": "armv7l"}, "apt-get install python3-numpy"),
        ({"bits": 32, "architecture": "armv6l"}, "ARMv7 or newer"),
        ({"version": "3.7.3"}, "need Python 3.8 and glibc, there are Python 3.7.3"),
        ({"libc": ""}, "another C library"),
        ({"pythons": []}, "ssh://pi has no Python"),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        plan(facts(**changes), "ssh://pi")


def test_this_machine_is_not_provisioned() -> None:
    with pytest.raises(UsageError, match="install the runtimes there with pip"):
        CliRunner().invoke(command, ["provision", "local"], catch_exceptions=False)


def test_the_environment_is_python_3_8() -> None:
    ast.parse(ENVIRONMENT.read_text(encoding="utf-8"), feature_version=(3, 8))


def make(folder: Path, *wheels: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", ENVIRONMENT, folder, "own", *wheels]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_environment_from_wheels(tmp_path: Path) -> None:
    wheel = tmp_path / "one.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("one.py", "VALUE = 1")
    for _ in range(2):  # the second replaces the first
        python = make(tmp_path / "runtimes", wheel).stdout.strip()
        code = "import one, sys; assert one.VALUE == 1; import runpy; print(sys.prefix)"
        ran = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == str(tmp_path / "runtimes")


def test_a_broken_wheel_leaves_the_old_environment(tmp_path: Path) -> None:
    make(tmp_path / "runtimes")
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK")
    assert make(tmp_path / "runtimes", broken).returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.whl", "runtimes"]
    assert (tmp_path / "runtimes" / "bin" / "python3").exists()


def test_a_python_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """As uv makes them. Nothing is asked of the device before."""
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(UsageError, match=r"has no pip.*\n.*-m ensurepip"):
        CliRunner().invoke(command, ["provision", "ssh://board.invalid"], catch_exceptions=False)
