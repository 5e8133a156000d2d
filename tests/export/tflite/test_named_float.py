"""What an int8 file computes in float on purpose is named: the runtime may not spare it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.export import export
from edgeconv.export.inspect import inspect_file


@pytest.mark.slow
def test_each_float_operator_of_a_file_has_a_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1)
    )
    bundle = export(
        network.eval(), out=tmp_path / "out", input_size=16, formats=["tflite"],
        precisions=["float32", "int8"], inputs=["image"],
        calibration=np.random.default_rng(0).integers(0, 256, (8, 3, 16, 16), np.uint8),
    )  # fmt: skip
    for artifact in bundle.manifest.artifacts:
        operators = {each.name for each in inspect_file(bundle.file(artifact)).operators}
        assert "HARD_SWISH" in operators
        assert artifact.float_fallback == ()
        named = ("1 (HardSwish)",) if artifact.precision is Precision.INT8 else ()
        assert artifact.tables == named
