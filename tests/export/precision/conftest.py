"""A small network with every kind of layer that the precisions treat differently."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.models.randomize import randomize_, structured_input

SHAPE = (3, 16, 16)


class Mixed(nn.Module):
    """Convolutions of three kinds, a residual, a concatenation, a squeeze and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU6()
        )
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pool = nn.MaxPool2d(2)
        self.left = nn.Sequential(nn.Conv2d(16, 24, 1), nn.GELU())
        self.right = nn.Conv2d(16, 24, 3, padding=2, dilation=2)
        self.gate = nn.Sequential(nn.Linear(48, 48), nn.Sigmoid())
        self.head = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        y = self.pool(torch.relu(y + self.depthwise(y)))
        y = torch.cat([self.left(y), self.right(y)], 1)
        y = y * self.gate(y.mean((2, 3)))[:, :, None, None]
        return self.head(y.mean((2, 3)))


@pytest.fixture(scope="session")
def mixed() -> nn.Module:
    return randomize_(Mixed(), shape=SHAPE)


@pytest.fixture(scope="session")
def samples() -> list[tuple[np.ndarray]]:
    return [(structured_input((1, *SHAPE), seed).numpy(),) for seed in range(8)]


@pytest.fixture(scope="session")
def expected(mixed: nn.Module, samples: list[tuple[np.ndarray]]) -> np.ndarray:
    """[samples, 1, 10] by PyTorch."""
    with torch.inference_mode():
        return np.stack([mixed(torch.from_numpy(sample[0])).numpy() for sample in samples])


@pytest.fixture(scope="session")
def graph(mixed: nn.Module, samples: list[tuple[np.ndarray]]) -> ir.Model:
    return optimize(capture_module(mixed, samples[0], ["output"], 20))
