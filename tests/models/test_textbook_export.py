"""The textbook's layers as verified files, float and int8."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.export import export
from edgeconv.models.kernels import gabor_bank, sobel
from edgeconv.models.layers.fixed import FixedConv, RandomFeatures, SeparableFixedConv
from edgeconv.models.layers.fractionally_strided import FractionallyStrided
from edgeconv.models.layers.frequency import FrequencyConv
from edgeconv.models.layers.l2_pooling import L2NormPool
from edgeconv.models.layers.locally_connected import LocallyConnected
from edgeconv.models.layers.location_bias import LocationBias
from edgeconv.models.layers.spatial_group_enhance import SpatialGroupEnhance
from edgeconv.models.layers.tiled import TiledConv

pytestmark = pytest.mark.slow

SHAPE = (4, 12, 10)

# What only moves numbers stays in the precision of its neighbors.
MOVES = {"Concat", "DepthToSpace", "Reshape", "Slice", "Transpose"}

# Each with the arithmetic that int8 files keep in float.
LAYERS = [
    (LocallyConnected(4, 6, SHAPE[1:], stride=2), set()),
    (TiledConv(4, 6, tiles=2), set()),
    (LocationBias(4, SHAPE[1:]), set()),
    (L2NormPool(), {"Mul", "Add", "Sqrt"}),
    (FrequencyConv(4, 6, 5), {"DFT", "Where", "Conv"}),
    (SpatialGroupEnhance(4, 2), {"MatMul", "LayerNormalization", "Add", "Mul"}),
    (FractionallyStrided(4, 6, 5, up=3, down=2), set()),
    (FixedConv(4, gabor_bank(5, 4, 4.0, 2.0)), set()),
    (SeparableFixedConv(4, sobel()), set()),
    (RandomFeatures(4, 6), set()),
]


def name(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, nn.Module) else ""


@pytest.mark.parametrize(("layer", "in_float"), LAYERS, ids=name)
def test_files_compute_what_the_layer_computes(
    layer: nn.Module, in_float: set[str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    bundle = export(
        layer.eval(),
        out=tmp_path / "out",
        input_size=SHAPE,
        calibration="random",
        calibration_size=8,
        precisions=[Precision.FLOAT32, Precision.INT8],
    )
    assert len(bundle.manifest.artifacts) == 4
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification
        if artifact.precision is Precision.FLOAT32:
            assert artifact.verification.max_error < 1e-6  # measured: 2e-7 at most
            continue
        # Measured: 28 dB in the frequency domain, 29 of tiled kernels, 31 and more of the others.
        assert artifact.verification.sqnr_db > 25
        kept = {line.split("(")[1].partition(")")[0] for line in artifact.float_fallback}
        assert kept - MOVES == in_float
