"""Train and score every network of the benchmarks in the same way, on one core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 64
_SHIFT = 2  # pixels
_STATISTICS = 1024  # samples for the final batch-norm statistics


@dataclass(frozen=True)
class Labeled:
    """Images [N, C, H, W] float32 in [-1, 1]; ``y`` int64: classes [N], or masks [N, H, W]."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]


def fit(
    network: nn.Module,
    train: Labeled,
    epochs: int,
    rate: float,
    *,
    flips: bool,
    progress: Callable[[int, float], None],
) -> None:
    """Train in place with AdamW on a one-cycle schedule, and leave the network in eval mode.

    Each batch is shifted by up to two pixels; with ``flips`` half of the batches are mirrored. The
    running statistics of batch norm are computed again at the end, because after a short training
    they lag behind the weights.
    """
    # Channels last: convolutions with few channels take little more than half the time.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.from_numpy(train.x).contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(train.y)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, epochs=epochs, steps_per_epoch=steps, pct_start=0.15
    )
    network.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(x))[: steps * BATCH].split(BATCH):
            images, targets = _vary(x[chosen], y[chosen], flips)
            loss = _loss(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        progress(epoch + 1, total / steps)
    _take_statistics(network, x[torch.randperm(len(x))[:_STATISTICS]])
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def outputs(network: nn.Module, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Run the network on all of ``x``; one array for each output, earliest exit first."""
    parts = []
    with torch.inference_mode():
        for batch in torch.from_numpy(x).split(BATCH):
            result = network(batch)
            parts.append(result if isinstance(result, tuple) else (result,))
    return [torch.cat(column).numpy() for column in zip(*parts, strict=True)]


def score(scores: npt.NDArray[np.floating], y: npt.NDArray[np.int64]) -> float:
    """Compute the top-1 of class scores [N, K], or the mean IoU of pixel scores [N, K, H, W]."""
    guesses = scores.argmax(1)
    if y.ndim == 1:
        return float((guesses == y).mean())
    both = [
        ((guesses == k) & (y == k)).sum() / ((guesses == k) | (y == k)).sum()
        for k in range(scores.shape[1])
    ]
    return float(np.mean(both))


def _loss(result: Tensor | tuple[Tensor, ...], targets: Tensor) -> Tensor:
    """Average the cross entropy over all exits."""
    exits = result if isinstance(result, tuple) else (result,)
    losses = [functional.cross_entropy(logits, targets, label_smoothing=0.05) for logits in exits]
    return torch.stack(losses).mean()


def _vary(images: Tensor, targets: Tensor, flips: bool) -> tuple[Tensor, Tensor]:
    """Shift a batch and its masks by the same few pixels, repeat the borders, and mirror half."""
    mirror = flips and torch.rand(()).item() < 0.5
    rows, columns = torch.randint(0, 2 * _SHIFT + 1, (2,)).tolist()
    height, width = images.shape[-2:]

    def moved(planes: Tensor) -> Tensor:
        padded = functional.pad(planes, (_SHIFT,) * 4, mode="replicate")
        part = padded[..., rows : rows + height, columns : columns + width]
        return part.flip(-1) if mirror else part

    if targets.ndim == 1:
        return moved(images), targets
    return moved(images), moved(targets[:, None].float())[:, 0].long()


def _take_statistics(network: nn.Module, x: Tensor) -> None:
    """Make the running statistics of batch norm the averages over ``x``."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    with torch.no_grad():
        for batch in x.split(BATCH):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
