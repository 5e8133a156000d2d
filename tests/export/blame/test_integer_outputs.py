"""Networks that give only a label or a map of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export import export
from edgeconv.export.blame import blame
from edgeconv.export.quantize_options import QuantizeOptions

pytestmark = pytest.mark.slow


class Scores(nn.Module):
    def __init__(self, *, label: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 8, 3), nn.Conv2d(8, 3, 1)
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        scores = self.second(self.first(x).relu())
        return scores.argmax(1) if self.label else scores


def test_layers_are_judged_by_the_scores_behind_a_label(tmp_path: Path) -> None:
    """It was an internal error: a label has no SQNR."""
    torch.manual_seed(0)
    plain, label = Scores(label=False), Scores(label=True)
    label.load_state_dict(plain.state_dict())
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((16, 2, 8, 8), np.float32))
    found = []
    for name, network in (("plain", plain), ("label", label)):
        bundle = export(
            network.eval(),
            out=tmp_path / name,
            input_size=(2, 8, 8),
            calibration=tmp_path / "x.npz",
            formats=["onnx"],
            quantization=QuantizeOptions(effort=0),
        )
        found.append(blame(bundle, tmp_path / "x.npz"))
    assert [layer.name for layer in found[0].layers] == [layer.name for layer in found[1].layers]
    assert found[1].sqnr_db == pytest.approx(found[0].sqnr_db)
    assert (found[0].file_sqnr_db is None, found[1].file_sqnr_db is None) == (False, True)
