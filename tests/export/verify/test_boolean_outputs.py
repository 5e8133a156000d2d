"""Outputs that are booleans, in every precision and both formats."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.export import export
from edgeconv.export.runtimes import open_runner
from edgeconv.models.randomize import randomize_, structured_input

SHAPE = (2, 5, 6)


class Mask(nn.Module):
    """A map, and whether it is above a threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.conv(x))
        return y, y > 0.4


@pytest.mark.slow
@pytest.mark.parametrize("precision", list(Precision))
def test_every_precision_writes_them(precision: Precision, tmp_path: Path) -> None:
    network = randomize_(Mask(), shape=SHAPE)
    samples = structured_input((24, *SHAPE), 3)
    np.save(tmp_path / "x.npy", samples.numpy())
    bundle = export(
        network,
        out=tmp_path / "out",
        input_size=SHAPE,
        precisions=[precision],
        calibration=tmp_path / "x.npy",
    )
    assert len(bundle.manifest.artifacts) == 2
    for artifact in bundle.manifest.artifacts:
        assert artifact.outputs[1].dtype == "bool"
        assert artifact.verification is not None
        of_reals, of_mask = artifact.verification.places
        assert of_reals.right_share is None
        assert of_mask.right_share is not None
        # Each wrong one is noise as large as the signal of a right one.
        if of_mask.right_share < 1:
            assert of_mask.sqnr_db == pytest.approx(-10 * math.log10(1 - of_mask.right_share))
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        for sample in samples.split(1):
            with torch.inference_mode():
                reals, expected = (array.numpy() for array in network(sample))
            got, mask = runner.run([sample.numpy()])
            # Quantization moves a value by a few steps at the most.
            sure = np.abs(reals - 0.4) > (0 if precision is Precision.FLOAT32 else 0.1)
            assert np.array_equal(mask[sure], expected[sure])
            far = np.abs(got - 0.4) > 1e-3  # float16 rounds the threshold as well
            assert np.array_equal(mask[far], got[far] > 0.4)
