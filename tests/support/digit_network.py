"""A small network trained on handwritten digits, and ways to make it hard to quantize.

Each way keeps what the network computes in float, to rounding.
"""

from __future__ import annotations

import copy
import functools
from itertools import pairwise

import numpy as np
import onnx_ir as ir
import torch
from torch import nn
from torch.nn import functional

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from examples.digits_data import load
from support.runtimes import onnx_session, run_onnx

SIZE = 8


class Block(nn.Module):
    """Convolution and batch norm, with or without a ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int, relu: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.norm(self.convolution(x)))


class DigitNetwork(nn.Module):
    """A stem, a separable convolution, a linear bottleneck and an expansion."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            Block(1, 16, 3, 1, relu=True),
            Block(16, 16, 3, 16, relu=True),
            Block(16, 32, 1, 1, relu=True),
            Block(32, 12, 1, 1, relu=False),
            Block(12, 32, 1, 1, relu=True),
            Block(32, 32, 3, 32, relu=True),
        )
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32 * 4, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.blocks(x)).flatten(1))


@functools.cache
def trained() -> DigitNetwork:
    """Train to about 99 % of the held-out digits; three channels of each block are dead."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, _ = load(SIZE)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    network = DigitNetwork().train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    epochs, steps = 20, len(x) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, epochs=epochs, steps_per_epoch=steps
    )
    for _ in range(epochs):
        for chosen in torch.randperm(len(x))[: steps * 64].split(64):
            loss = functional.cross_entropy(network(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            kill_channels(network)
    torch.set_num_threads(threads)
    return network.eval()


def rescaled(network: DigitNetwork, largest: float = 1000.0, seed: int = 0) -> DigitNetwork:
    """Rescale each channel between two blocks by a factor from 1/largest to largest.

    The weights that read the channel are multiplied by what it is divided by.
    """
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    blocks = list(network.blocks)
    with torch.no_grad():
        for block, reader in pairwise(blocks):
            exponent = 2 * torch.rand(block.norm.num_features, generator=generator) - 1
            factors = torch.tensor(largest) ** exponent
            block.norm.weight /= factors
            block.norm.bias /= factors
            dimension = 0 if reader.convolution.groups > 1 else 1
            shape = [1, 1, 1, 1]
            shape[dimension] = -1
            reader.convolution.weight *= factors.reshape(shape)
    return network


def shifted(network: DigitNetwork, size: float = 1000.0, seed: int = 0) -> DigitNetwork:
    """Add up to ``size`` to each channel of the linear bottleneck.

    The mean that the next norm subtracts takes it away again.
    """
    network = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    bottleneck, reader = network.blocks[3], network.blocks[4]
    with torch.no_grad():
        shift = size * (2 * torch.rand(bottleneck.norm.num_features, generator=generator) - 1)
        bottleneck.norm.bias += shift
        reader.norm.running_mean += reader.convolution.weight[:, :, 0, 0] @ shift
    return network


def with_coarse_weights(network: DigitNetwork, size: float = 50.0) -> DigitNetwork:
    """Give every output channel of the 1×1 convolutions one huge weight.

    It is ``size`` times as large as the greatest and reads an input channel that is always zero, so
    that the other weights share a handful of integers.
    """
    network = copy.deepcopy(network)
    with torch.no_grad():
        for block in network.blocks:
            weight = block.convolution.weight
            if weight.shape[1] > 1:
                weight[:, 0] = size * weight.abs().amax(dim=(1, 2, 3))[:, None, None]
    return network


def kill_channels(network: DigitNetwork) -> None:
    """Kill three channels of each block in place: zero, always below a ReLU, a tiny constant."""
    with torch.no_grad():
        for block in network.blocks:
            block.norm.weight[:3] = 0
            block.norm.bias[:3] = torch.tensor([0.0, -1.0, 1e-30])


def graph_of(network: nn.Module) -> ir.Model:
    example = (np.zeros((1, 1, SIZE, SIZE), np.float32),)
    captured = capture_module(network, example, ["output"], 20)
    return optimize(captured)


@functools.cache
def training_samples(count: int = 128) -> list[Sample]:
    train, _ = load(SIZE)
    return [(image[None],) for image in train.x[:count]]


def spiked(samples: list[Sample], size: float = 100.0) -> list[Sample]:
    """Give three in a thousand samples one pixel far out of range, as a broken sensor would."""
    changed = []
    for index, (image,) in enumerate(samples):
        image = image.copy()
        if index % 333 == 100:
            image[0, 0, 0, index % SIZE] = size
        changed.append((image,))
    return changed


def top1(model: ir.Model) -> float:
    """Compute the top-1 accuracy on the held-out digits, in percent."""
    _, test = load(SIZE)
    session = onnx_session(model, fused=True)
    outputs = (run_onnx(session, image[None]) for image in test.x)
    guesses = [next(iter(output.values())).argmax() for output in outputs]
    return 100 * float(np.mean(np.array(guesses) == test.y))
