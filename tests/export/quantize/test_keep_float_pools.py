"""Operators that are named to stay in float do so in the TFLite file, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Format
from edgeconv.export import export
from edgeconv.export.quantize_options import QuantizeOptions


@pytest.mark.slow
def test_pools_and_resizes_between_integers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.AvgPool2d(3, 2),
        nn.Conv2d(4, 4, 3),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(4, 4, 1),
    )
    bundle = export(
        network.eval(), out=tmp_path / "out", input_size=16, precisions=["int8"],
        calibration=np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32),
        quantization=QuantizeOptions(keep_float=frozenset({"1", "3"})),
    )  # fmt: skip
    for artifact in bundle.manifest.artifacts:
        names = [each.partition(" ")[0] for each in artifact.float_fallback]
        assert names == ["1", "3"], artifact.path
        if artifact.format is Format.TFLITE:
            assert artifact.verification is not None
            assert artifact.verification.passed
