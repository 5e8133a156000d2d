"""Profiles by operator, from ONNX Runtime; tests of cutting have those of TFLite files."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.profile.roofline import macs
from edgeconv.device import Event, RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Operator, Start, Tensor, Warmup
from support.command_line import CommandLine
from support.profiles import PI4
from support.tiny_models import write_onnx

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "expected"),
    [
        ("Conv", [[1, 3, 8, 8], [4, 3, 3, 3], [4]], [[1, 4, 8, 8]], 4 * 64 * 27),
        ("Conv", [[1, 6, 8, 8], [6, 1, 3, 3]], [[1, 6, 8, 8]], 6 * 64 * 9),
        ("QLinearConv", [[1, 3, 8, 8], [], [], [4, 3, 1, 1]], [[1, 4, 8, 8]], 4 * 64 * 3),
        ("Gemm", [[2, 10], [10, 5]], [[2, 5]], 100),
        ("MatMul", [[3, 4, 7], [3, 7, 5]], [[3, 4, 5]], 3 * 4 * 5 * 7),
        ("Relu", [[1, 4]], [[1, 4]], None),
        ("Conv", [], [], None),  # a device that reports no shapes
        ("MatMul", [[]], [[]], None),
    ],
)
def test_macs(operator: str, inputs: Any, outputs: Any, expected: int | None) -> None:
    into, out = (
        tuple(Tensor(dtype="float32", shape=shape) for shape in shapes)
        for shapes in (inputs, outputs)
    )
    assert macs(Operator(name="n", operator=operator, ns=1, inputs=into, outputs=out)) == expected


def test_command(tmp_path: Path, edgeconv: CommandLine) -> None:
    out = tmp_path / "r.json"
    model = write_onnx(tmp_path / "m.onnx")
    done = edgeconv("bench", model, "--operators", "--runs", 10, "--warmup", 0, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "GMAC/s" in done.stdout
    assert "in kernels: " in done.stderr
    (profiled,) = OperatorResult.model_validate_json(out.read_text()).models
    assert any("Conv" in operator.operator for operator in profiled.operators)
    assert all(operator.outputs for operator in profiled.operators)
    types = {t.dtype for operator in profiled.operators for t in operator.inputs}
    assert types == {"float32"}
    assert [operator.delegated for operator in profiled.operators] == [None] * len(
        profiled.operators
    )
    assert profiled.peaks is None
    assert "no roofline" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "r.json"]
    assert "its kind is operators" in edgeconv("compare", out, out).stderr


class Pi4(LocalDevice):
    """This machine, which calls itself a Raspberry Pi 4 that runs at 1.5 GHz."""

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        for event in super().run(request):
            if isinstance(event, Start | Warmup):
                state = event.conditions.model_copy(update={"frequencies_hz": (600_000_000,)})
                event = event.model_copy(update={"conditions": state})
            if isinstance(event, Warmup):
                state = event.conditions.model_copy(update={"frequencies_hz": (1_500_000_000,)})
                event = event.model_copy(update={"conditions": state})
            if isinstance(event, Start):
                board = event.machine.model_copy(update={"board": PI4})
                event = event.model_copy(update={"machine": board})
            yield event


@pytest.mark.parametrize("threads", [1, 2])
def test_roofline_of_a_known_board(
    tmp_path: Path,
    edgeconv: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
) -> None:
    """At the highest frequency that it reported, not the nominal one, on the threads in use."""
    monkeypatch.setattr("edgeconv.cli.bench_runs.open_device", lambda name: Pi4())
    model, out = write_onnx(tmp_path / "m.onnx", shape=(1, 3, 64, 64)), tmp_path / "r.json"
    options = ("--operators", "--runs", 5, "--warmup", 0, "--threads", threads, "-o", out)
    done = edgeconv("bench", model, *options)
    assert done.returncode == 0, done.stderr
    assert "Of roof" in done.stdout
    cores = min(threads, len(os.sched_getaffinity(0)))
    assert f"Raspberry Pi 4 Model B, cores: {cores} at 1500 MHz (as reported)" in done.stderr
    bandwidth = "5.56 GB/s of memory" if cores == 1 else "memory bandwidth unknown"
    assert bandwidth in done.stderr
    result = json.loads(out.read_text())
    assert result["schema_version"] == 3
    (profiled,) = result["models"]
    assert profiled["peaks"]["macs_per_ns"]["float32"] == 6.0 * cores
    (convolution,) = (o for o in profiled["operators"] if "Conv" in o["operator"])
    assert convolution["roof"]["ns"] >= convolution["macs"] / (6.0 * cores)


def test_usage(tmp_path: Path, edgeconv: CommandLine) -> None:
    def refused(*arguments: object) -> str:
        done = edgeconv("bench", "--operators", *arguments)
        assert done.returncode == 2
        return done.stderr

    model = write_onnx(tmp_path / "m.onnx")
    assert "leave out --repetitions" in refused(model, "--repetitions", 2)
    assert "takes no times" in refused(model, "--device", "emulated:pi4")
