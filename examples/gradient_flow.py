"""Draw how gradients travel: ``python -m examples.gradient_flow --out build/gradient_flow.png``.

Networks of 8, 56 and 110 layers (He et al. 2015) on handwritten digits, with their shortcuts and
without: the norm of each weight's gradient by depth, at initialization and after a short training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.nn import functional

from edgeconv.export.threads import one_torch_thread
from edgeconv.models.gradient_flow import FlowGraph, LayerGradient
from edgeconv.models.initialize import initialize_
from edgeconv.models.resnet_cifar import CifarResNet
from edgeconv.report.gradient_plot import Panel, draw
from edgeconv.report.plotting import save
from edgeconv.report.tables import Column, console, progress, table
from examples.digits_data import Split, load
from examples.pictures import picture

DEPTHS = (8, 56, 110)
SIZE = 8  # pixels per side, as scanned
BATCH = 32
STEPS = 40
LEARNING_RATE = 0.01  # the paper begins with it at 110 layers: 0.1 is too much at first
ROADS = ("with shortcuts", "without shortcuts")

Lines = dict[str, list[LayerGradient]]


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("build/gradient_flow.png"),
    callback=picture,
)
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True)
def main(out: Path, steps: int) -> None:
    """Draw the gradient norms of shallow and deep networks, with and without shortcuts."""
    train, _ = load(SIZE)
    before: list[Panel] = []
    after: list[Panel] = []
    with progress("Training", quiet=False) as show:
        for index, depth in enumerate(DEPTHS):
            first, last, losses = flow(train, depth, steps)
            named = {f"{road}, loss {losses[road]:.2f}": last[road] for road in last}
            before.append(Panel(f"{depth} layers at initialization", first))
            after.append(Panel(f"{depth} layers after {steps} steps", named))
            show("Training", index + 1, len(DEPTHS))
    out.parent.mkdir(parents=True, exist_ok=True)
    save(draw([before, after]), out)
    print_ends([*before, *after])
    console().print(f"wrote {out}")


@one_torch_thread()
def flow(data: Split, depth: int, steps: int) -> tuple[Lines, Lines, dict[str, float]]:
    """Return the gradients before and after training on each road, and the last losses."""
    first: Lines = {}
    last: Lines = {}
    losses: dict[str, float] = {}
    for road in ROADS:
        torch.manual_seed(0)
        network = CifarResNet((depth - 2) // 6, 10, 1, 0.0).train()
        initialize_(network)
        x, y = batch(data, 0)
        graph = FlowGraph(network, x)
        if road == "without shortcuts":
            graph.remove_shortcuts()
        loss(graph, x, y).backward()
        first[road] = graph.measured()
        recent = train(graph, data, steps)
        losses[road] = sum(recent[-5:]) / len(recent[-5:])
        graph.module.zero_grad()
        loss(graph, x, y).backward()
        last[road] = graph.measured()
    return first, last, losses


def train(graph: FlowGraph, data: Split, steps: int) -> list[float]:
    """Train with momentum, and return the loss of every step."""
    optimizer = torch.optim.SGD(graph.module.parameters(), lr=LEARNING_RATE, momentum=0.9)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(graph, *batch(data, step))
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    return losses


def loss(graph: FlowGraph, x: Tensor, y: Tensor) -> Tensor:
    (logits,) = graph.module(x)
    return functional.cross_entropy(logits, y)


def batch(data: Split, step: int) -> tuple[Tensor, Tensor]:
    chosen = torch.arange(step * BATCH, (step + 1) * BATCH) % len(data.x)
    return torch.from_numpy(data.x)[chosen], torch.from_numpy(data.y)[chosen]


def print_ends(panels: Sequence[Panel]) -> None:
    """Print the norms at both ends of each line."""
    columns = ["network", "road", Column("first layer", numeric=True), Column("last", numeric=True)]
    rows = [
        [panel.title, road, f"{layers[0].norm:.2g}", f"{layers[-1].norm:.2g}"]
        for panel in panels
        for road, layers in panel.lines.items()
    ]
    console().print(table(columns, rows))


if __name__ == "__main__":
    main()
