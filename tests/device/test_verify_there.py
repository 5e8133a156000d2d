"""``edgeconv verify --device``: every file on the device's own runtime, judged like on the host."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.cli.verify_command import command
from edgeconv.device import open_device
from edgeconv.device.computing import Computing, computing
from edgeconv.errors import DataError, UsageError, VerificationError
from edgeconv.export import export
from edgeconv.export.elsewhere import ElsewhereRunner
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.models.randomize import randomize_, structured_input
from support.ssh_server import Server

pytestmark = pytest.mark.slow

SHAPE = (3, 16, 16)
HERE = f"local:{sys.executable}"


class Small(nn.Module):
    """Two outputs: a map and the scores of its means."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 5, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.last(self.first(x).relu())
        return y, y.mean((2, 3))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The files of a network in float and int8, for both runtimes."""
    folder = tmp_path_factory.mktemp("good")
    network = randomize_(Small(), shape=SHAPE)
    np.savez(folder / "c.npz", x=structured_input((24, *SHAPE)).numpy())
    return export(network, out=folder / "b", input_size=SHAPE, calibration=folder / "c.npz")


def verify(bundle: Bundle, device: str, *more: str) -> Result:
    return CliRunner().invoke(command, [str(bundle.path), "--device", device, *more])


def test_the_same_runtimes_elsewhere_find_the_same(good: Bundle) -> None:
    here = verify_bundle(good)
    with computing(open_device(HERE)) as place:
        there = verify_bundle(good, place=place)
    assert len(there.artifacts) == len(good.manifest.artifacts) == 4
    for path, figures in there.artifacts.items():
        expected = here.artifacts[path]
        assert figures.passed
        runtime = expected.runtime.removeprefix("ai-edge-")
        assert figures.runtime == f"{runtime} on {HERE}"
        assert figures == expected.model_copy(update={"runtime": figures.runtime})


@pytest.mark.device
def test_over_ssh_from_the_command_line(good: Bundle, server: Server) -> None:
    done = verify(good, server.name, "--json", "-q")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["artifacts"]
    assert set(found) == {artifact.path for artifact in good.manifest.artifacts}
    assert all(f["passed"] and f["runtime"].endswith(server.name) for f in found.values())


def test_an_old_runtime_that_reads_tflite_files_only(good: Bundle) -> None:
    python = os.environ.get("EDGECONV_TFLITE214", "")
    if not Path(python).is_file():
        pytest.skip("EDGECONV_TFLITE214 names no Python with tflite_runtime 2.14")
    done = verify(good, f"local:{python}")
    assert done.exit_code == 0, done.output
    assert "not verified" in done.output
    with computing(open_device(f"local:{python}")) as place:
        report = verify_bundle(good, place=place)
    tflite = {a.path for a in good.manifest.artifacts if a.path.endswith(".tflite")}
    assert set(report.artifacts) == tflite
    assert all(
        figures.runtime.startswith("tflite-runtime 2.14") for figures in report.artifacts.values()
    )


def test_a_device_that_computes_something_else(
    good: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that are wrong by a thousandth: all figures are shown, and the device is named."""
    right = Computing.run

    def wrong(place: Computing, file: Path, batches: Any) -> Any:
        runtime, answers = right(place, file, batches)
        if "float32.onnx" not in file.name:
            return runtime, answers
        return runtime, [{n: y * np.float32(1.001) for n, y in each.items()} for each in answers]

    monkeypatch.setattr(Computing, "run", wrong)
    done = verify(good, HERE)
    assert isinstance(done.exception, VerificationError)
    message = done.exception.message
    assert message.startswith(f"{HERE}: Small_float32.onnx differs from pytorch by 0.00")
    assert done.exception.exit_code == 1
    assert "Small_int8.tflite" in done.output


def test_an_output_of_other_dimensions(good: Bundle) -> None:
    class Lying:
        name = "liar"

        def reads(self, file: Path) -> bool:
            return True

        def run(self, file: Path, batches: object) -> tuple[str, list[dict[str, np.ndarray]]]:
            return "onnxruntime 1", [{i.name: np.zeros(3, np.float32) for i in artifact.outputs}]

    artifact = good.manifest.artifacts[0]
    sample = (np.zeros((1, *SHAPE), np.float32),)
    with pytest.raises(DataError, match=r"liar: .* has no output .* of float32 with 4 dimensions"):
        list(ElsewhereRunner(Lying(), good, artifact).run_all([sample]))


def test_quick_runs_nothing(good: Bundle) -> None:
    done = verify(good, HERE, "--quick")
    assert isinstance(done.exception, UsageError)
