"""Throughput over time: on this machine, with a power chip made up, and cut short."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.sustained import SustainedResult
from edgeconv.device import Event, RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Conditions, Reading, Samples, Warmup
from edgeconv.errors import MeasurementError
from support.command_line import CommandLine
from support.results import CALM
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.slow

# As a Raspberry Pi 5 answers: 1.8 A at 0.75 V, 0.5 A at 1.1 V; the input reports no current.
PMIC = """\
   VDD_CORE_A current(7)=1.80000000A
       1V1_SYS_A current(4)=0.50000000A
   VDD_CORE_V volt(15)=0.75000000V
       1V1_SYS_V volt(12)=1.10000000V
         EXT5V_V volt(24)=5.15000000V
"""
LONG = ("--warmup", "0", "--sustained", "3s")
SAMPLES = Samples(event="samples", ns=(1000,) * 10)


@pytest.fixture
def vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a ``vcgencmd`` in PATH that does what the test says."""

    def write(body: str) -> None:
        program = tmp_path / "bin" / "vcgencmd"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    return write


def read(path: Path) -> SustainedResult:
    return SustainedResult.model_validate_json(path.read_text())


def test_energy(tmp_path: Path, edgeconv: CommandLine, vcgencmd: Callable[[str], None]) -> None:
    vcgencmd(f"test $1 = pmic_read_adc || exit 1\ncat <<'X'\n{PMIC}X")
    models = write_onnx(tmp_path / "a.onnx"), write_tflite(tmp_path / "b.tflite")
    done = edgeconv("bench", *models, *LONG, "-o", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert "J per inference" in done.stderr
    result = read(tmp_path / "r.json")
    for model in result.models:
        assert model.cut is None
        assert model.rest_ns == ()
        assert model.stretches[-1].seconds >= 3
        assert {stretch.watts for stretch in model.stretches} == {1.8 * 0.75 + 0.5 * 1.1}
        runs = sum(len(stretch.samples_ns) for stretch in model.stretches)
        rate = model.throughput(0, len(model.stretches))
        assert rate == pytest.approx(runs / model.stretches[-1].seconds)
        assert model.joules == pytest.approx(1.9 / rate)


@pytest.mark.parametrize("body", ["exit 1", "echo 'error=1 error_msg=\"none\"'", "echo VDD_CORE_A"])
def test_a_board_that_tells_no_power(
    tmp_path: Path, edgeconv: CommandLine, vcgencmd: Callable[[str], None], body: str
) -> None:
    vcgencmd(body)
    out = tmp_path / "r.json"
    done = edgeconv("bench", write_tflite(tmp_path / "b.tflite"), *LONG[:3], "1s", "-o", out)
    assert "J per inference" not in done.stderr
    assert read(out).models[0].joules is None


def test_cut_short(tmp_path: Path, edgeconv: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came is shown and kept, and the exit code says so."""
    run = LocalDevice.run

    def dying(device: LocalDevice, request: RunRequest) -> Generator[Event, None, None]:
        readings = 0
        for event in run(device, request):
            yield event
            readings += isinstance(event, Reading)
            if readings == 2:
                raise MeasurementError("local: gone")

    monkeypatch.setattr(LocalDevice, "run", dying)
    out = tmp_path / "r.json"
    models = write_tflite(tmp_path / "a.tflite"), write_tflite(tmp_path / "b.tflite")
    done = edgeconv("bench", *models, *LONG, "-o", out)
    assert done.returncode == 1
    assert f"a.tflite: local: gone; what came before is in {out}" in done.stderr
    assert "Inferences/s" in done.stdout
    (model,) = read(out).models
    assert (model.cut, len(model.stretches)) == ("local: gone", 2)
    assert "a.tflite: 2 readings, a trend needs 10; measure for longer" in done.stderr
    assert "at the end than at first" not in done.stderr


class Scripted(LocalDevice):
    """Ten readings, one a second; before three of them others use half a core. The second file is
    interrupted before it says anything."""

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        if request.model.endswith("b.tflite") and request.reading_seconds:
            raise KeyboardInterrupt
        busy = 0.0
        for event in super().run(request.model_copy(update={"min_seconds": 0.0, "min_runs": 1})):
            if isinstance(event, Reading):
                for index in range(1, 11):
                    busy += 0.5 if index in (4, 5, 6) else 0.0
                    yield SAMPLES
                    yield Reading(
                        event="reading",
                        ns=index * 10**9,
                        conditions=self.state(index, busy),
                        watts=None,
                    )
                return
            if isinstance(event, Warmup):
                event = event.model_copy(update={"conditions": self.state(0, 0.0)})
            if not isinstance(event, Samples):
                yield event

    def state(self, own: float, others: float) -> Conditions:
        used = {"own_cpu_seconds": own, "all_cpu_seconds": own + others}
        return CALM.model_copy(update=used)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeconv.cli.bench_runs.open_device", lambda name: Scripted())


@pytest.mark.usefixtures("scripted")
def test_work_of_others_is_told(tmp_path: Path, edgeconv: CommandLine) -> None:
    out = tmp_path / "r.json"
    done = edgeconv("bench", write_tflite(tmp_path / "a.tflite"), *LONG, "-o", out)
    assert done.returncode == 0, done.stderr
    busy = "the machine was busy: before 3 of 10 readings others used CPU, up to 0.5 cores"
    assert busy in done.stderr
    result = read(out)
    assert any(busy in warning for warning in result.warnings)
    others = [stretch.others_cores for stretch in result.models[0].stretches]
    assert others == pytest.approx([0, 0, 0, 0.5, 0.5, 0.5, 0, 0, 0, 0])
    assert "a.tflite: 0.0% slower at the end than at first" in done.stderr
    assert " 9.0 s " in done.stdout
    assert "\n10.0 s " in done.stdout
    assert f"{tmp_path}/a.tflite\n" in done.stdout  # above its rows, in one line


@pytest.mark.usefixtures("scripted")
def test_the_first_file_outlives_an_interruption(tmp_path: Path, edgeconv: CommandLine) -> None:
    out = tmp_path / "r.json"
    models = write_tflite(tmp_path / "a.tflite"), write_tflite(tmp_path / "b.tflite")
    done = edgeconv("bench", *models, *LONG, "-o", out)
    assert done.returncode == 1
    assert f"b.tflite: interrupted; what came before is in {out}" in done.stderr
    result = read(out)
    assert [len(model.stretches) for model in result.models] == [10]
    assert result.cut == f"{models[1]}: interrupted"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sustained", "5"), "give a time"),
        (("--sustained", "0s"), "give a time"),
        (("--sustained", "25h"), "give a time"),
        (("--sustained", "1s", "--runs", 5), "leave out --runs"),
        (("--sustained", "1s", "--device", "emulated:pi4"), "takes no times"),
    ],
)
def test_usage(tmp_path: Path, edgeconv: CommandLine, arguments: Any, said: str) -> None:
    done = edgeconv("bench", write_tflite(tmp_path / "b.tflite"), *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_is_no_result_to_compare(tmp_path: Path, edgeconv: CommandLine) -> None:
    out = tmp_path / "r.json"
    edgeconv("bench", write_tflite(tmp_path / "b.tflite"), *LONG[:3], "1s", "-o", out)
    done = edgeconv("compare", out, out)
    assert done.returncode == 2
    assert "is a result of kind sustained, which is not compared" in done.stderr
