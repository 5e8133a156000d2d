"""Profiles by operator, from ONNX Runtime; tests of cutting have those of TFLite files."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench import BenchOptions
from edgeconv.bench.profile.profile import REWRITTEN, OperatorResult, profile
from edgeconv.bench.profile.roofline import macs
from edgeconv.device import Event, RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Done, Operator, Operators, Start, Tensor, Warmup
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
    assert (
        "is a result of kind operators, which is not compared"
        in edgeconv("compare", out, out).stderr
    )


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
    done = edgeconv("bench", model, *options, "--wide")
    assert done.returncode == 0, done.stderr
    assert "Of roof" in done.stdout
    cores = min(threads, len(os.sched_getaffinity(0)))
    assert f"Raspberry Pi 4 Model B, cores: {cores} at 1500 MHz (as reported)" in done.stderr
    bandwidth = "5.56 GB/s of memory" if cores == 1 else "memory bandwidth unknown"
    assert bandwidth in done.stderr
    result = json.loads(out.read_text())
    assert result["schema_version"] == 4
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
    assert "leave out --seconds" in refused(model, "--seconds", 2)
    assert "takes no times" in refused(model, "--device", "emulated:pi4")


class Moody(LocalDevice):
    """Reports made-up times for every node, and others on its cores in the first process."""

    def __init__(self) -> None:
        super().__init__()
        self.times = iter((9_000_000, 1_000_000, 1_100_000, 1_210_000))

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        ns = next(self.times) if request.operators else 0
        for event in super().run(request):
            if isinstance(event, Operators):
                nodes = tuple(one.model_copy(update={"ns": ns}) for one in event.operators)
                event = event.model_copy(update={"operators": nodes})
            if isinstance(event, Warmup | Done):
                others = 3.0 if isinstance(event, Done) and ns == 9_000_000 else 0.0
                own = event.conditions.own_cpu_seconds
                calm = {"all_cpu_seconds": own + others, "stolen_seconds": 0.0}
                state = event.conditions.model_copy(update=calm)
                event = event.model_copy(update={"conditions": state})
            yield event


def test_several_processes_with_interval_and_check(tmp_path: Path) -> None:
    """The disturbed process is repeated; the interval is Student's over the logs of the others."""
    model = write_onnx(tmp_path / "m.onnx")
    options = BenchOptions(runs=5, warmup=0.0)
    result = profile([model], options, Moody())
    (profiled,) = result.models
    assert any("1 process was disturbed" in warning for warning in result.warnings)
    operator = profiled.operators[0]
    assert operator.times_ns == (1_000_000, 1_100_000, 1_210_000)
    assert operator.ns == 1_100_000  # the geometric mean
    assert operator.interval is not None
    half = 4.302653 * math.log(1.1) / math.sqrt(3)  # Student's 97.5 % quantile, 2 degrees
    assert operator.interval.low == pytest.approx(1_100_000 * math.exp(-half), rel=1e-5)
    # A profile's times are rounded down to microseconds.
    assert operator.interval.high == pytest.approx(1_100_000 * math.exp(half) + 999, rel=1e-5)


def test_one_process_has_no_interval(tmp_path: Path) -> None:
    options = BenchOptions(runs=5, warmup=0.0, repetitions=1)
    result = profile([write_onnx(tmp_path / "m.onnx")], options, LocalDevice())
    assert {operator.interval for operator in result.models[0].operators} == {None}


def test_endings_of_rewritten_nodes_are_cut_off() -> None:
    names = ("layer3.0.conv1_token_6", "stem_nchwc", "a_nchwc_token_1", "fc_1")
    assert [REWRITTEN.sub("", name) for name in names] == ["layer3.0.conv1", "stem", "a", "fc_1"]
