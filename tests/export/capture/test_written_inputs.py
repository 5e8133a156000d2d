"""Networks that write into their inputs, or keep a state between calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.errors import CaptureError
from edgeconv.export import export
from support.runtimes import run_onnx


class Writes(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x.mul_(2)
        x[:, 0] = 5
        return x, x + 1


class Remembers(nn.Module):
    """Keeps its last output, in a buffer or an attribute."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.linear = nn.Linear(4, 4)
        self.register_buffer("state", torch.zeros(1, 4))
        self.last: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.linear(x)
        if self.kind == "attribute":
            y = y if self.last is None else y + self.last
            self.last = y
        elif self.kind == "written buffer":
            y = y + self.state
            self.state.copy_(y)
        else:
            self.state = 0.5 * self.state + y
            y = self.state
        return y


class Counts(nn.Module):
    """Counts its calls, which changes no output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"y": self.linear(x), "positive": x > 0}


@pytest.mark.slow
def test_inputs_that_are_written_into(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    x = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    kept = x.copy()
    bundle = export(Writes(), out=tmp_path / "b", example=torch.from_numpy(x), formats="onnx")
    assert "far from those of pytorch" not in caplog.text
    np.testing.assert_array_equal(x, kept)
    written = np.float32([[5, *(2 * x[0, 1:])]])
    got = run_onnx(bundle.file(bundle.manifest.artifacts[0]), x)
    np.testing.assert_array_equal(list(got.values()), [written, written + 1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["attribute", "written buffer", "new buffer"])
def test_a_state_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"keeps a state.*\nhint: let forward take the state"):
        export(Remembers(kind), out=tmp_path / "b", input_size="1,4", formats="onnx")


@pytest.mark.slow
def test_what_changes_no_output_is_no_state(tmp_path: Path) -> None:
    export(Counts(), out=tmp_path / "b", input_size="1,4", formats="onnx")
