"""Measure what int8 keeps of every output of networks that have several.

    .venv/bin/python -m benchmarks.int8_outputs [NETWORK ...]

Needs ``pip install timm``. Writes ``results/int8_outputs.md``. What is judged by all outputs
together may take from one what it gives to another; two columns show effort 1 judged so, and as it
is, where no output may lose.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from benchmarks.int8_held_out import Image, described
from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.several_outputs import CHOSEN_ON, REPORTED, SIZE, network
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.quantize.accuracy.judge import Gain
from edgeconv.export.quantize.calibration.channel_statistics import Float64
from edgeconv.export.runtimes import OnnxRunner
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.metrics import Sqnr, together
from edgeconv.models.randomize import structured_input

SAMPLES = 64
UNSEEN = 200
# Repair saves outputs that keep little, and has a page of its own.
CHOICES = QuantizeOptions(effort=1, repair=False)
# A loss that counts, in dB.
LOSS_DB = 0.3
COLUMNS = ("effort 1, judged together", "effort 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[*CHOSEN_ON, *REPORTED])
    torch.set_num_threads(1)
    rows = []
    gains: dict[str, dict[str, Float64]] = {column: {} for column in COLUMNS}
    for name in parser.parse_args().networks:
        graph = captured(name)
        unseen = images(10_000, UNSEEN)
        expected = run(graph, unseen)
        calibration = [(image,) for image in images(100, SAMPLES)]
        plain = kept_db(
            expected, quantize(graph, calibration, QuantizeOptions(effort=0)).model, unseen
        )
        with judged_together():
            before = quantize(graph, calibration, CHOICES)
        after = quantize(graph, calibration, CHOICES)
        for column, made in zip(COLUMNS, (before, after), strict=True):
            gains[column][name] = kept_db(expected, made.model, unseen) - plain
        rows.append(
            [
                f"{name}{'*' if name in CHOSEN_ON else ''}",
                ", ".join(f"{db:.1f}" for db in plain),
                *(", ".join(f"{db:+.1f}" for db in gains[column][name]) for column in COLUMNS),
                described(after),
            ]
        )
        sys.stderr.write(" | ".join(rows[-1]) + "\n")
    publish(
        "int8_outputs",
        [
            "# int8 of networks with several outputs",
            "",
            f"SQNR in dB of each output over {UNSEEN} inputs of {SIZE}x{SIZE} after calibration on",
            f"{SAMPLES} others, and what effort 1 gains without repair: with choices judged by all",
            "outputs together, and as it is, where a choice that loses in one of them is not made.",
            "That rule was chosen on the networks with a star, with these and other weights.",
            machine("edgeconv", "onnxruntime", "timm"),
            "",
            *markdown_table(["network", "effort 0", *COLUMNS, "what was kept"], rows),
            "",
            *markdown_table(
                ["networks", "choices", "mean gain", "least", f"outputs that lose {LOSS_DB} dB"],
                [
                    [
                        which,
                        column,
                        *summary([gains[column][n] for n in names if n in gains[column]]),
                    ]
                    for which, names in (("starred", CHOSEN_ON), ("others", REPORTED))
                    for column in COLUMNS
                    if any(name in gains[column] for name in names)
                ],
            ),
        ],
    )


def summary(gains: Sequence[Float64]) -> list[str]:
    """The mean over networks, the least gain of an output, and how many outputs lose."""
    each = np.concatenate(gains)
    mean = np.mean([network.mean() for network in gains])
    return [f"{mean:+.2f}", f"{each.min():+.1f}", f"{(each < -LOSS_DB).sum()} of {each.size}"]


@contextmanager
def judged_together() -> Iterator[None]:
    """Judge choices by all outputs together alone."""
    whole = Gain.between

    def between(before: Float64, after: Float64) -> Gain:
        return replace(whole(before, after), outputs=())

    with patch.object(Gain, "between", between):
        yield


def images(first: int, count: int) -> list[Image]:
    shape = (1, 3, SIZE, SIZE)
    return [structured_input(shape, seed).numpy() for seed in range(first, first + count)]


def captured(name: str) -> ir.Model:
    module, example = network(name), images(0, 1)[0]
    with torch.no_grad():
        count = len(module(torch.from_numpy(example)))
    names = [f"output_{index}" for index in range(count)]
    return optimize(capture_module(module, (example,), names, 20))


def run(model: ir.Model, inputs: Sequence[Image]) -> list[list[npt.NDArray[np.float32]]]:
    proto = ir.to_proto(model).SerializeToString()
    runner = OnnxRunner(proto, input_infos(model), output_infos(model))
    return [runner.run((image,)) for image in inputs]


def kept_db(
    expected: Sequence[Sequence[npt.NDArray[np.float32]]], model: ir.Model, inputs: Sequence[Image]
) -> Float64:
    ratios = [
        [Sqnr.between(*pair) for pair in zip(*outputs, strict=True)]
        for outputs in zip(expected, run(model, inputs), strict=True)
    ]
    return np.array([ratio.db for ratio in together(ratios)])


if __name__ == "__main__":
    main()
