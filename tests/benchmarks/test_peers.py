"""Test the code of the side-by-side benchmarks without the tools that it compares."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.peers.exporting import DIED, Outcome, export, first_line, read_record
from benchmarks.peers.subjects import INDEX, Subject, read_subjects
from benchmarks.quantization.compare import Row
from benchmarks.quantization.score import HeldOut, Score, score
from edgeconv.bundle import Layout
from edgeconv.export import export as export_network
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """Write a folder with one network, in the form of write_zoo.py."""
    folder = tmp_path / "networks"
    folder.mkdir()
    save_file(
        randomize_(create_model("ds_cnn"), shape=(1, 49, 10)).state_dict(), folder / "w.safetensors"
    )
    np.savez(folder / "x.npz", x=structured_input((2, 1, 49, 10)).numpy(), y=np.zeros(2, int))
    entry = {
        "name": "small",
        "factory": "ds_cnn",
        "args": {},
        "weights": "w.safetensors",
        "calibration": "x.npz",
        "evaluation": "x.npz",
        "metric": "top1",
    }
    (folder / INDEX).write_text(json.dumps([entry]))
    return folder


def test_a_failing_step_is_recorded_and_the_next_one_runs(networks: Path, tmp_path: Path) -> None:
    (subject,) = read_subjects(networks)

    def fails(subject: Subject, out: Path) -> Path:
        raise ValueError("\n  no counterpart of Foo\nmore")

    def writes(subject: Subject, out: Path) -> Path:
        return out / "small.tflite"

    export(subject, tmp_path, "tool 1.0", {"float32": fails, "int8": writes})
    record = read_record(tmp_path, "small")
    assert record is not None
    assert record.complete
    assert record.outcomes["float32"] == Outcome(failure="ValueError: no counterpart of Foo")
    assert record.file(tmp_path, "float32") is None
    assert record.file(tmp_path, "int8") == tmp_path / "small.tflite"


def test_a_process_that_dies_leaves_a_record(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text(
        "import os\n"
        "from benchmarks.peers.exporting import run_exporter\n"
        "run_exporter('dying', 'tool', {'float32': lambda subject, out: os._exit(3)})\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    command = [sys.executable, "-m", "dying", str(networks), str(tmp_path / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"small: float32 {DIED}\n"
    record = read_record(tmp_path / "out", "small")
    assert record is not None
    assert record.complete


def test_an_error_without_words_is_its_kind() -> None:
    assert first_line(KeyError()) == "KeyError"


class _Twice(nn.Module):
    """A network with two outputs of the same shape, one of which is a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 4, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.first(x))
        return y, y + self.second(x)


@pytest.mark.parametrize("layout", [Layout.NHWC, Layout.NCHW])
def test_files_of_either_layout_are_scored(layout: Layout, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = _Twice().eval()
    x = structured_input((2, 3, 10, 12))
    with torch.no_grad():
        outputs = tuple(y.numpy() for y in network(x))
    # The pairing must not depend on the order in which a tool lists the outputs.
    held_out = HeldOut(x.numpy(), outputs[::-1], None)
    bundle = export_network(network, out=tmp_path / "bundle", input_size=(10, 12), layout=layout)
    for artifact in bundle.manifest.artifacts:
        # Float files differ from PyTorch by about 1e-7 of the output: 140 dB.
        assert score(bundle.file(artifact), held_out).sqnr_db > 100


def test_top1_is_that_of_the_last_output(networks: Path, tmp_path: Path) -> None:
    (subject,) = read_subjects(networks)
    held_out = HeldOut.of(subject, most=2)
    guesses: npt.NDArray[np.int64] = held_out.outputs[-1].argmax(-1)
    bundle = export_network(subject.factory, weights=subject.weights, out=tmp_path / "bundle")
    for classes, top1 in ((guesses, 1.0), (np.array([guesses[0], -1]), 0.5)):
        known = HeldOut(held_out.inputs, held_out.outputs, classes)
        for artifact in bundle.manifest.artifacts:
            assert score(bundle.file(artifact), known).top1 == top1


def test_the_margin_is_to_the_best_peer() -> None:
    scores = {
        "edgeconv TFLite": Score(30.0, None),
        "edgeconv ONNX": Score(31.0, None),
        "one": Score(20.0, None),
        "another": Score(29.5, None),
    }
    assert Row("small", None, scores, {}).margin() == pytest.approx(0.5)
    del scores["edgeconv TFLite"]
    assert Row("small", None, scores, {}).margin() is None
