"""The small digit networks of the tutorials: int8, the gate and the sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from examples import spread_channels, widths


def test_spreading_channels_changes_ranges_and_not_the_network() -> None:
    torch.manual_seed(0)
    network = spread_channels.make().eval()
    x = torch.randn(4, 1, 16, 16)
    with torch.inference_mode():
        before, first = network(x), network[0](x).amax((0, 2, 3))
        spread_channels.spread(network)
        after, spread = network(x), network[0](x).amax((0, 2, 3))
    # Factors up to 300 in float32: the sums differ by their rounding.
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    factors = (spread / first)[first > 0]
    assert factors.max() / factors.min() > spread_channels.LARGEST


@pytest.mark.slow
def test_the_trainings_write_what_an_export_needs(tmp_path: Path) -> None:
    invoke = CliRunner().invoke
    spread, wide = tmp_path / "spread", tmp_path / "wide"
    invoke(spread_channels.main, ["--out", str(spread), "--epochs", "1"], catch_exceptions=False)
    invoke(widths.main, ["4", "6", "--out", str(wide), "--epochs", "1"], catch_exceptions=False)
    spread_channels.make().load_state_dict(load_file(spread / "trained.safetensors"))
    widths.make(6).load_state_dict(load_file(wide / "trained_6.safetensors"))
    for folder in (spread, wide):
        with np.load(folder / "train.npz") as train, np.load(folder / "test.npz") as test:
            assert train["x"].shape[1:] == test["x"].shape[1:] == (1, 16, 16)
            assert len(test["x"]) == len(test["y"]) == 450
