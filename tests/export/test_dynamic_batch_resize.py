"""Resizes in files for every batch size: by scales where these give the stated sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.export import export
from edgeconv.export.dynamic_batch import with_open_batch
from support.open_batches import opened
from support.runtimes import run_onnx


class _Decoder(nn.Module):
    """A map that is pooled, and resized to its own size again."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.behind = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.before(x)
        small = nn.functional.avg_pool2d(wide, 2)
        back = nn.functional.interpolate(small, size=wide.shape[-2:], mode="bilinear")
        out: torch.Tensor = self.behind(back + wide)
        return out


@pytest.mark.slow
def test_a_resize_to_a_size_is_quantized(tmp_path: Path) -> None:
    """ONNX Runtime's transpose optimizer refused the sizes without the batch behind a pool."""
    data = np.random.default_rng(0).standard_normal((24, 3, 16, 16), np.float32)
    bundle = export(
        _Decoder(),
        out=str(tmp_path / "out"),
        input_size=16,
        dynamic_batch=True,
        precisions=["int8"],
        calibration=data,
    )
    assert [artifact.format.value for artifact in bundle.manifest.artifacts] == ["onnx", "tflite"]


@pytest.mark.parametrize(
    ("before", "after", "by_scales"), [(4, 9, True), (8, 3, True), (3, 5, False)]
)
def test_a_resize_keeps_its_sizes_where_scales_round_otherwise(
    before: int, after: int, by_scales: bool
) -> None:
    """``float32(5 / 3) × 3`` is below or above 5, as the product is of float32 or float64."""
    body = f"(float[2, 1, {before}, 4] x) => (y) <int64[4] s = {{2, 1, {after}, 8}}>"
    model = opened(f'g {body} {{ y = Resize <mode = "linear"> (x, , , s) }}')
    (node,) = (node for node in model.graph if node.op_type == "Resize")
    assert (node.inputs[2] is not None) is by_scales
    x = np.random.default_rng(0).standard_normal((5, 1, before, 4), np.float32)
    got = run_onnx(with_open_batch(model), x)["y"]
    wanted = nn.functional.interpolate(torch.from_numpy(x), size=(after, 8), mode="bilinear")
    # Two weights of 24 bits each.
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-5, atol=1e-6)
