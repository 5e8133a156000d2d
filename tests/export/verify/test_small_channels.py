"""Channels of one layer that int8 loses beside far larger ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.verify.small_channels import warn_of_small_channels
from edgeconv.models.randomize import structured_input

SMALL = 0.003


def with_small_rows(layer: nn.Linear | nn.Conv2d, rows: list[int]) -> nn.Linear | nn.Conv2d:
    with torch.no_grad():
        layer.weight[rows] *= SMALL
        if layer.bias is not None:
            layer.bias[rows] *= SMALL
    return layer


class Net(nn.Module):
    def __init__(self, last: nn.Module, *, flat: bool, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.last, self.flat = last, flat
        self.behind = behind or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.behind(self.last(x.mean((2, 3)) if self.flat else x))


class ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1, 2) * 2


def warned(network: nn.Module, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings about a file that rounds each output to 256 steps of one scale."""
    x = structured_input((8, 3, 12, 12))
    network = network.eval()
    graph = optimize(capture_module(network, (x[:1].numpy(),), ["y"], 20))
    with torch.no_grad():
        expected = np.stack([network(sample[None]).numpy() for sample in x])
    step = (expected.max() - expected.min()) / 255
    got = np.rint(expected / step) * step
    caplog.clear()
    warn_of_small_channels("net_int8.onnx", graph, ["y"], [(expected, got)])
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("behind", [None, ChannelsLast()])
def test_channels_of_a_map(behind: nn.Module | None, caplog: pytest.LogCaptureFixture) -> None:
    layer = with_small_rows(nn.Conv2d(8, 6, 1), [4])
    (message,) = warned(Net(layer, flat=False, behind=behind), caplog)
    assert "net_int8.onnx keeps little of channel 4 of the output 'y'" in message


def test_rows_of_a_matrix(caplog: pytest.LogCaptureFixture) -> None:
    (message,) = warned(Net(with_small_rows(nn.Linear(8, 12), [0, 1, 5]), flat=True), caplog)
    assert "channels 0, 1, 5 of the output" in message


@pytest.mark.parametrize(
    "network",
    [
        # Of many classes some are close to zero by themselves.
        Net(nn.Linear(8, 500), flat=True),
        # Its values are far from zero whatever its weights.
        Net(with_small_rows(nn.Linear(8, 12), [2]), flat=True, behind=nn.Sigmoid()),
    ],
)
def test_others_are_not_named(network: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    assert not warned(network, caplog)


def test_a_channel_that_is_always_zero_is_not_named(caplog: pytest.LogCaptureFixture) -> None:
    layer = nn.Linear(8, 12)
    with torch.no_grad():
        layer.weight[3], layer.bias[3] = 0, 0
    assert not warned(Net(layer, flat=True), caplog)


@pytest.mark.slow
def test_an_export_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = Net(nn.Linear(8, 12), flat=True)
    with_small_rows(network.last, [7])
    export(
        network.eval(),
        out=tmp_path / "out",
        input_size=(3, 12, 12),
        formats="tflite",
        precisions="int8",
        calibration=structured_input((32, 3, 12, 12)).numpy(),
    )
    assert any("of channel 7 of the output" in each.getMessage() for each in caplog.records)
