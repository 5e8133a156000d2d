"""Inputs and outputs that are single numbers have no dimensions in the files either."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.export import export
from support.runtimes import run_onnx, run_tflite


class Scaled(nn.Module):
    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"scaled": x * scale, "sum": x.sum(), "next": scale + 1}


@pytest.mark.slow
def test_single_numbers_keep_their_shape(tmp_path: Path) -> None:
    example = (torch.arange(6.0).reshape(2, 3), torch.tensor(2.5))
    bundle = export(Scaled(), out=tmp_path / "out", example=example)
    assert [info.shape for info in bundle.manifest.inputs] == [(2, 3), ()]
    feeds = {"x": example[0].numpy(), "scale": np.array(2.5, np.float32)}
    for artifact in bundle.manifest.artifacts:
        run = run_onnx if artifact.path.endswith(".onnx") else run_tflite
        for name, wanted in Scaled()(*example).items():
            got = run(bundle.file(artifact), feeds)[name]
            assert got.shape == wanted.shape
            np.testing.assert_array_equal(got, wanted.numpy())
