"""Layers whose weights float16 cannot hold are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export import export
from edgeconv.export.lost_halves import lost_share
from edgeconv.models.randomize import structured_input
from support.runtimes import run_onnx


class Beside(nn.Module):
    """A layer whose weights are tiny beside one whose results decide the output."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.large, self.small = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            self.small.weight *= factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        small = self.small(x)
        return self.large(x) + small, small


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "named"), [(1e-8, True), (1e-3, False)])
def test_a_layer_that_float16_loses_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, factor: float, named: bool
) -> None:
    """The bias of that layer is what its results are, so that both files are verified."""
    network = Beside(factor).eval()
    bundle = export(
        network, input_size=16, formats="onnx", precisions="float16", out=tmp_path / "b"
    )
    warnings = [text for text in caplog.messages if text.startswith("float16 loses most")]
    assert [("small" in text, "(100.0%)" in text, "large" in text) for text in warnings] == (
        [(True, True, False)] if named else []
    )
    x = structured_input((1, 3, 16, 16)).numpy()
    small = list(run_onnx(bundle.file(bundle.manifest.artifacts[0]), x).values())[1]
    # With weights of zero the results are the same everywhere.
    assert bool(np.ptp(small, (0, 2, 3)).max() == 0) is named


def test_what_is_lost_is_what_float16_has_with_few_bits() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    assert lost_share(weights) == lost_share(1e-4 * weights) == lost_share(0 * weights) == 0
    assert lost_share(1e-9 * weights) == 1
    some = lost_share(2e-6 * weights)
    assert 0.5 < some < 1
    assert some == np.mean(np.abs(2e-6 * weights.astype(np.float64)) < 2.0**-19)


def test_weights_that_decayed_beside_others_are_no_loss() -> None:
    weights = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    weights[:6] *= 1e-12
    assert lost_share(weights) == 0
