"""An int8 file that computes most of the network in float is warned of as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Precision
from edgeconv.export import export

pytestmark = pytest.mark.slow


class Similarities(nn.Module):
    """A layer, and products of two activations, for which int8 has no form.

    Args:
        features: What the layer makes of 32 numbers. Its multiplications are 32 for each of them,
            those of the products of 32 rows are 32.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(32, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y @ y.transpose(1, 2)


@pytest.mark.parametrize(("layers", "words"), [(1, "50.0% of the network"), (2, "some operators")])
def test_the_share_of_multiplications_in_float_is_stated(
    layers: int, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*[nn.Linear(32, 32) for _ in range(layers - 1)], Similarities(32))
    rng = np.random.default_rng(0)
    export(
        network.eval(),
        input_size="1,32,32",
        out=tmp_path / "out",
        precisions=Precision.INT8,
        formats="onnx",
        calibration=rng.standard_normal((16, 32, 32)).astype(np.float32),
    )
    (warning,) = [each for each in caplog.messages if "run in float" in each]
    assert words in warning
    assert ("int8 gains little speed" in warning) == (layers == 1)
