"""Compare quantization-aware fine-tuning with plain rounding, for 4-bit weights.

    .venv/bin/python -m examples.qat_digits

The script trains a MobileNetV1 of width 0.25 on handwritten digits in float. Then it applies the
same quantizer twice: once after the training, with ranges from calibration, and once during a short
fine-tuning, in which the network sees its own rounding. It exports both to int8 files, whose
weights use 15 of the 255 values, and measures them on held-out digits.
"""

from __future__ import annotations

import logging
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import fx, nn

from edgeconv.bundle import Bundle
from edgeconv.export import export
from edgeconv.export.tasks.evaluate import Evaluation, evaluate
from edgeconv.export.threads import one_torch_thread
from edgeconv.models import create_model
from edgeconv.progress import Progress
from edgeconv.report.tables import Column, console, progress, table
from edgeconv.units import format_bytes, format_percent
from examples.digits import PIXELS, fit, top1
from examples.digits_data import Split, load

SIZE = 32
EPOCHS = 16
TUNING_EPOCHS = 8
TUNING_RATE = 1e-3
WEIGHT_BITS = 4
CALIBRATION_BATCH = 128


@dataclass(frozen=True)
class Comparison:
    """The accuracy of the float network, and both bundles with the accuracy of their files."""

    float_top1: float
    rounded: tuple[Bundle, Evaluation]
    tuned: tuple[Bundle, Evaluation]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/qat"))
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--tuning", type=click.IntRange(min=1), default=TUNING_EPOCHS, show_default=True)
@click.option("--bits", type=click.IntRange(2, 8), default=WEIGHT_BITS, show_default=True)
def main(out: Path, epochs: int, tuning: int, bits: int) -> None:
    """Compare quantization after training with quantization-aware fine-tuning."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    network = create_model("mobilenet_v1", num_classes=10, in_channels=1, width_mult=0.25)
    with progress("Training", quiet=False) as show_progress:
        result = run(
            network,
            load(SIZE),
            out,
            (epochs, tuning),
            bits,
            show_progress,
        )
    show(result)


@one_torch_thread()
def run(
    network: nn.Module,
    data: tuple[Split, Split],
    out: Path,
    epochs: tuple[int, int],
    bits: int,
    progress: Progress,
) -> Comparison:
    """Train ``network`` on digits [N, 1, size, size], quantize it both ways, and evaluate both.

    ``epochs`` has the epochs of the float training and of the fine-tuning.
    """
    torch.manual_seed(0)
    out.mkdir(parents=True, exist_ok=True)
    train, test = data
    fit(network, train, epochs[0], progress)
    float_top1 = top1(network, test)
    samples = test.save(out / "digits_test.npz")

    def finish(prepared: fx.GraphModule, name: str) -> tuple[Bundle, Evaluation]:
        side = train.x.shape[-1]
        bundle = export(
            convert(prepared),
            out=out / name,
            input_size=(1, side, side),
            calibration=train.save(out / "digits_train.npz"),
            preprocessing=PIXELS,
            force=True,
            progress=progress,
        )
        return bundle, evaluate(bundle, samples, progress)

    rounded = prepare(deepcopy(network), train, bits)
    calibrate(rounded, train)
    tuned = prepare(deepcopy(network), train, bits)
    calibrate(tuned, train)  # so that tuning begins with sensible ranges
    fit(tuned, train, epochs[1], progress, max_lr=TUNING_RATE, step="Tuning")
    calibrate(tuned, train)  # the tuning changed the weights, so the ranges are measured again
    return Comparison(float_top1, finish(rounded, "rounded"), finish(tuned, "tuned"))


def prepare(network: nn.Module, train: Split, bits: int) -> fx.GraphModule:
    """Insert fake quantization wherever the int8 file of the network will have integers.

    Batch norms are folded first, so that tuning changes the weights that the file will contain.
    """
    from torch.fx.experimental.optimization import fuse
    from torchao.quantization.pt2e import allow_exported_model_train_eval
    from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

    from edgeconv.export.qat import EdgeQuantizer

    example = torch.from_numpy(train.x[:2])
    batch = {0: torch.export.Dim("batch", min=1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folded = fuse(network.eval())
        program = torch.export.export(folded, (example,), dynamic_shapes=(batch,)).module()
        prepared: Any = prepare_qat_pt2e(program, EdgeQuantizer(bits))
    # PT2E's modules refuse train() and eval(), which `fit` calls, unless this allows them.
    return allow_exported_model_train_eval(prepared)


def calibrate(prepared: fx.GraphModule, train: Split) -> None:
    """Run all data through the fake quantizers, so that they observe the ranges."""
    prepared.eval()
    with torch.no_grad():
        for batch in torch.from_numpy(train.x).split(CALIBRATION_BATCH):
            prepared(batch)


def convert(prepared: fx.GraphModule) -> fx.GraphModule:
    """Replace the fake quantization by integers."""
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    move_exported_model_to_eval(prepared)
    return convert_pt2e(prepared)


def show(result: Comparison) -> None:
    """Print the table."""
    rows = [["float network", "", format_percent(result.float_top1, places=2)]]
    for name, (bundle, evaluation) in (
        ("rounded after training", result.rounded),
        ("tuned for rounding", result.tuned),
    ):
        for artifact, accuracy in zip(bundle.manifest.artifacts, evaluation.results, strict=True):
            rows.append(
                [
                    f"{name}, {artifact.format.value}",
                    format_bytes(artifact.bytes),
                    format_percent(accuracy.top1, places=2),
                ]
            )
    columns = [Column(name, numeric=True) for name in ("size", "top-1")]
    out = console()
    out.print(table(["file", *columns], rows))
    out.print()
    out.print(f"top-1 on {result.tuned[1].samples} held-out digits")


if __name__ == "__main__":
    main()
