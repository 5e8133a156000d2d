"""Train, export, verify and measure a network: ``python -m examples.digits --out build/demo``.

The network is a small MobileNetV2 on handwritten digits. The script exports it to four files,
verifies them, measures their accuracy on held-out digits and their latency on this machine, and
prints one table.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from torch import nn
from torch.nn import functional

from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bundle import Bundle, Format
from edgeconv.device import open_device
from edgeconv.export import export
from edgeconv.export.tasks.evaluate import Evaluation, evaluate
from edgeconv.export.threads import one_torch_thread
from edgeconv.models import create_model
from edgeconv.preprocessing import Preprocessing
from edgeconv.progress import Progress
from edgeconv.report.bundle import format_error
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column, console, progress
from edgeconv.units import format_bytes, format_duration, format_percent, format_ratio
from examples.digits_data import Split, load

SIZE = 32  # pixels per side: MobileNetV2 halves it five times
EPOCHS = 20
BATCH = 64
# An inference takes microseconds, so a quarter of a second holds thousands of them.
BRIEF = BenchOptions(seconds=0.25, warmup=0.25, retries=1)
PIXELS = Preprocessing(resize=None, mean=(0.5,), std=(0.5,))  # from bytes to [-1, 1]


@dataclass(frozen=True)
class Demo:
    """Everything that the table shows."""

    bundle: Bundle
    evaluation: Evaluation
    latency: BenchResult
    pytorch_top1: float


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/demo"))
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
def main(out: Path, epochs: int) -> None:
    """Train, export, verify, evaluate and measure a MobileNetV2 on handwritten digits."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    started = time.monotonic()
    demo = run(out, epochs, BRIEF)
    show(demo)
    console().print()
    console().print(f"{time.monotonic() - started:.0f} s in all; the files are in {out}/bundle")


def run(out: Path, epochs: int, options: BenchOptions) -> Demo:
    """Train, export, evaluate and measure; write below ``out`` and show progress on a terminal."""
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    train, test = load(SIZE)
    with progress("Training", quiet=False) as show_progress:
        network = create_model(
            "mobilenet_v2", num_classes=10, in_channels=1, width_mult=0.35, dropout=0.0
        )
        fit(network, train, epochs, show_progress)
        bundle = export(
            network,
            out=out / "bundle",
            input_size=(SIZE, SIZE),
            calibration=train.save(out / "digits_train.npz"),
            preprocessing=PIXELS,
            labels=[str(digit) for digit in range(10)],
            force=True,
            progress=show_progress,
        )
        evaluation = evaluate(bundle, test.save(out / "digits_test.npz"), show_progress)
        files = [bundle.file(artifact) for artifact in bundle.manifest.artifacts]
        latency = measure(files, options, open_device("local"), show_progress)
    return Demo(bundle, evaluation, latency, top1(network, test))


@one_torch_thread()
def fit(
    network: nn.Module,
    train: Split,
    epochs: int,
    progress: Progress,
    *,
    max_lr: float = 5e-3,
    step: str = "Training",
) -> None:
    """Train with AdamW on a one-cycle schedule, and shift each batch by up to two pixels."""
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    # PyTorch trains depthwise convolutions faster with the channels last in memory.
    x, network = (
        x.to(memory_format=torch.channels_last),
        network.to(memory_format=torch.channels_last),
    )
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=max_lr, epochs=epochs, steps_per_epoch=steps
    )
    network.train()
    for epoch in range(epochs):
        # Whole batches only: statistics of a few samples would spoil the running ones.
        for chosen in torch.randperm(len(x))[: steps * BATCH].split(BATCH):
            shifted = shift(x[chosen])
            loss = functional.cross_entropy(network(shifted), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        progress(step, epoch + 1, epochs)
    network.eval()


def shift(images: torch.Tensor, pixels: int = 2) -> torch.Tensor:
    """Move a batch by the same few pixels, and fill the border with the white of the paper."""
    rows, columns = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
    height, width = images.shape[-2:]
    padded = functional.pad(images, (pixels,) * 4, value=-1.0)
    return padded[..., rows : rows + height, columns : columns + width]


@one_torch_thread()
def top1(network: nn.Module, data: Split) -> float:
    """Return the share of the samples that the network classifies correctly."""
    with torch.inference_mode():
        guesses = network(torch.from_numpy(data.x)).argmax(1).numpy()
    return float((guesses == data.y).mean())


def show(demo: Demo) -> None:
    """Print the table; the speed-up is relative to the float32 file on the same runtime."""
    columns = [Column("file"), *(Column(name, numeric=True) for name in _NUMBERS)]
    rows = [["PyTorch float32", "", format_percent(demo.pytorch_top1, places=2), "", "", ""]]
    artifacts = demo.bundle.manifest.artifacts
    for index, (artifact, accuracy) in enumerate(
        zip(artifacts, demo.evaluation.results, strict=True)
    ):
        median = demo.latency.models[index].summary.median
        baseline = next(i for i, other in enumerate(artifacts) if other.format is artifact.format)
        assert artifact.verification is not None
        rows.append(
            [
                f"{_FORMATS[artifact.format]} {artifact.precision.value}",
                format_bytes(artifact.bytes),
                format_percent(accuracy.top1, places=2),
                format_error(artifact.verification),
                format_duration(median.value / 1e9, interval=(median.low / 1e9, median.high / 1e9)),
                format_ratio(demo.latency.speedup(baseline, index).value),
            ]
        )
    out = console()
    out.print(stacked(columns, rows))
    out.print()
    out.print(f"top-1 on {demo.evaluation.samples} held-out digits; largest error as a share of")
    out.print("the output's range; median latency with its 95 % confidence interval on one")
    out.print("thread; speed-up over the float32 file on the same runtime")


_NUMBERS = ("size", "top-1", "error", "latency", "speed-up")
_FORMATS = {Format.ONNX: "ONNX", Format.TFLITE: "TFLite"}

if __name__ == "__main__":
    main()
