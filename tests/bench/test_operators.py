"""Profiles by operator, from ONNX Runtime; tests of cutting have those of TFLite files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from tiny_models import write_onnx

from edgeconv.bench.operators import OperatorResult
from edgeconv.bench.roofline import macs
from edgeconv.device.messages import Operator, Tensor


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "expected"),
    [
        ("Conv", [[1, 3, 8, 8], [4, 3, 3, 3], [4]], [[1, 4, 8, 8]], 4 * 64 * 27),
        ("Conv", [[1, 6, 8, 8], [6, 1, 3, 3]], [[1, 6, 8, 8]], 6 * 64 * 9),
        ("QLinearConv", [[1, 3, 8, 8], [], [], [4, 3, 1, 1]], [[1, 4, 8, 8]], 4 * 64 * 3),
        ("Gemm", [[2, 10], [10, 5]], [[2, 5]], 100),
        ("MatMul", [[3, 4, 7], [3, 7, 5]], [[3, 4, 5]], 3 * 4 * 5 * 7),
        ("Relu", [[1, 4]], [[1, 4]], None),
        ("Conv", [], [], None),  # a device that tells nothing of its shapes
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
    assert "bench --operators" in edgeconv("compare", out, out).stderr


def test_usage(tmp_path: Path, edgeconv: CommandLine) -> None:
    def refused(*arguments: object) -> str:
        done = edgeconv("bench", "--operators", *arguments)
        assert done.returncode == 2
        return done.stderr

    model = write_onnx(tmp_path / "m.onnx")
    assert "leave out --repetitions" in refused(model, "--repetitions", 2)
    assert "takes no times" in refused(model, "--device", "emulated:pi4")
