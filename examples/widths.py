"""Train one network at several widths: ``python -m examples.widths 8 16 --out build/widths``.

The folder gets the weights of each width, samples of handwritten digits to calibrate with, and
others with their classes. The tutorials of the gate and of sweeps use them.
"""

from __future__ import annotations

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


def make(width: int = 16) -> nn.Module:
    """The factory that `edgeconv export` calls: ten scores from (N, 1, 16, 16)."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(2 * width, 2 * width, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, 10),
    )


@click.command()
@click.argument("widths", nargs=-1, required=True, type=click.IntRange(min=1))
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/widths"))
@click.option("--epochs", type=click.IntRange(min=1), default=15, show_default=True)
def main(widths: tuple[int, ...], out: Path, epochs: int) -> None:
    """Train a network of each of WIDTHS on handwritten digits, and write weights and data."""
    train, test = load(SIZE)
    out.mkdir(parents=True, exist_ok=True)
    train.save(out / "train.npz")
    test.save(out / "test.npz")
    for width in widths:
        torch.manual_seed(0)
        network = make(width)
        fit(network, train, epochs, lambda step, done, total: None)
        weights = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(weights, out / f"trained_{width}.safetensors")
        share = format_percent(top1(network, test), places=2)
        console().print(f"width {width}: top-1 {share} of {len(test.y)} digits")


if __name__ == "__main__":
    main()
