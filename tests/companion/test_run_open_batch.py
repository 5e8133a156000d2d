"""``run.py`` and ``predict`` of bundles with an open batch, on several samples at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.companion.predict import predict
from edgeconv.export import export
from edgeconv.models.randomize import randomize_, structured_input
from support.standalone import only, run_alone

pytestmark = pytest.mark.slow


def network() -> nn.Module:
    return randomize_(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


@pytest.mark.parametrize("labels", [None, ["a", "b", "c"]], ids=["arrays", "classes"])
def test_every_sample_is_run_and_shown(
    labels: list[str] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ``.tflite`` file with an open batch states 1, and takes others when it is resized."""
    made = export(
        network(), out=tmp_path / "out", input_size=(6,), dynamic_batch=True, labels=labels
    )
    path = only(tmp_path / "packages", "numpy", "ai_edge_litert", "onnxruntime")
    x = structured_input((3, 6))
    np.savez(tmp_path / "in.npz", x.numpy(), **{made.manifest.inputs[0].name: x.numpy()})
    with torch.no_grad():
        wanted = network()(x).numpy()
    for artifact in made.manifest.artifacts:
        arguments = ["--file", artifact.path, *(["--out", "got.npz"] if labels is None else [])]
        done = run_alone(made.path / "run.py", path, "in.npz", *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        if labels is None:
            with np.load(tmp_path / "got.npz") as got:
                # Float32 sums of eight products of about one.
                np.testing.assert_allclose(got[got.files[0]], wanted, rtol=1e-5, atol=1e-6)
        else:
            lines = done.stdout.splitlines()
            assert lines[::4] == ["sample 0", "sample 1", "sample 2"]
            best = [lines[first].split()[1] for first in (1, 5, 9)]
            assert best == ["abc"[index] for index in wanted.argmax(1)]
        capsys.readouterr()
        predict(made, tmp_path / "in.npz", file=artifact.path)
        assert len(capsys.readouterr().out.splitlines()) == (1 if labels is None else 12)
