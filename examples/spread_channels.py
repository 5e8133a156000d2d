"""Train a network that int8 is hard on: ``python -m examples.spread_channels --out build/spread``.

After the training, each channel between two layers is multiplied by a factor of its own, and the
weights that read it are divided by it. That changes nothing in float. But one scale of 8 bits
serves all channels of an activation, so the small ones get a handful of values. Trained networks
are like that by themselves, to a lesser degree (Nagel et al. 2019, arXiv:1906.04721). The folder
gets weights, training samples to calibrate with, and others with their classes.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import click
import torch
from safetensors.torch import save_file
from torch import nn

from edgeconv.report.tables import console
from edgeconv.units import format_percent
from examples.digits import fit, top1
from examples.digits_data import load

SIZE = 16
LARGEST = 300.0  # factors are from 1/LARGEST to LARGEST


def layer(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution, a batch norm and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def make() -> nn.Module:
    """The factory that `edgeconv export` calls: ten scores from (N, 1, 16, 16)."""
    return nn.Sequential(
        layer(1, 16, 3),
        layer(16, 16, 3, stride=2, groups=16),
        layer(16, 32, 1),
        layer(32, 32, 3, stride=2, groups=32),
        layer(32, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@torch.no_grad()
def spread(network: nn.Module, largest: float = LARGEST) -> None:
    """Multiply each channel between two layers by a random factor, and divide what reads it.

    A positive factor passes through a ReLU, so the network computes the same.
    """
    generator = torch.Generator().manual_seed(0)
    layers = [module for module in network.children() if isinstance(module, nn.Sequential)]
    for (_, norm, _), (reader, _, _) in pairwise(layers):
        exponents = 2 * torch.rand(norm.num_features, generator=generator) - 1
        factors = torch.tensor(largest) ** exponents
        norm.weight *= factors
        norm.bias *= factors
        axis = 0 if reader.groups > 1 else 1  # a depthwise filter reads the channel it writes
        reader.weight /= factors.reshape([-1 if at == axis else 1 for at in range(4)])


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/spread"))
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
def main(out: Path, epochs: int) -> None:
    """Train on handwritten digits, spread the channels, and write weights and data."""
    torch.manual_seed(0)
    train, test = load(SIZE)
    network = make()
    fit(network, train, epochs, lambda step, done, total: None)
    trained = top1(network, test)
    spread(network)
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, out / "trained.safetensors")
    train.save(out / "train.npz")
    test.save(out / "test.npz")
    before, after = (format_percent(share, places=2) for share in (trained, top1(network, test)))
    console().print(
        f"top-1 of {len(test.y)} digits in PyTorch: {before}, with channels spread {after}"
    )


if __name__ == "__main__":
    main()
