"""What an export reports while it runs: of the steps that take long, how much is done."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.export import export
from support.tiny_models import write_onnx


def test_the_checks_of_files_and_operators_are_counted(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    bundle = export(
        write_onnx(tmp_path / "tiny.onnx"),
        out=tmp_path / "out",
        calibration="random",
        calibration_size=4,
        progress=lambda *report: reported.append(report),
    )
    files = len(bundle.manifest.artifacts)
    assert files == 4
    verified = [(done, total) for step, done, total in reported if step == "Verifying"]
    assert verified == [(done, files) for done in range(files)]
    checked = [report[1:] for report in reported if report[0] == "Checking the operators of int8"]
    assert checked == [(0, 3), (1, 3), (2, 3)]  # exact arithmetic, then each format


class Blocks(nn.Module):
    """Two layers, of which one is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One call of the network has three of its layers."""
        return self.again(self.first(self.again(x)))


def test_tracing_counts_the_calls_of_modules_and_translation_is_named(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    export(
        Blocks().eval(),
        out=tmp_path / "out",
        input_size=(4,),
        precisions=[Precision.FLOAT32],
        progress=lambda *report: reported.append(report),
    )
    traced = [report[1:] for report in reported if report[0] == "Tracing the network"]
    calls = traced[0][1]
    assert calls >= 4  # the network and its layers, and what wraps them
    assert traced[:calls] == [(done, calls) for done in range(calls)]
    steps = list(dict.fromkeys(step for step, _, _ in reported))
    begin = steps.index("Capturing")
    assert steps[begin + 1 : begin + 4] == [
        "Tracing the network",
        "Translating into ONNX",
        "Simplifying the graph",
    ]
    assert not torch.nn.modules.module._global_forward_pre_hooks  # nothing of ours stays


def test_an_error_of_whoever_is_informed_is_not_one_of_the_network(tmp_path: Path) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if step == "Tracing the network":
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        export(
            Blocks().eval(),
            out=tmp_path / "out",
            input_size=(4,),
            precisions=[Precision.FLOAT32],
            progress=stop,
        )
    assert not (tmp_path / "out").exists()
