"""Measure ranges for 16-bit activations, on trained networks and unseen pictures.

    .venv/bin/python -m benchmarks.int16_ranges [NETWORK ...]

The networks and pictures are those of ``benchmarks.real_networks``. Each network is fitted once, at
effort 1; then its int16x8 form is made with the ranges of int8, with those of the extremes that
calibration saw, and with room beyond them. Writes ``results/int16_ranges.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from unittest.mock import patch

import onnx_ir as ir

from benchmarks.int8_held_out import run
from benchmarks.int8_real_weights import kept_figures, network_of
from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.real_networks import TASKS, Task, data
from edgeconv.export.passes import optimize
from edgeconv.export.precision.int16x8_onnx import widen
from edgeconv.export.quantize import fit, room
from edgeconv.export.quantize.calibrated import CalibratedModel

CHOSEN_ON = ("MobileNetV2", "PP-OCRv6 detector")
ROOMS = (1.0, 2.0, 4.0)


def forms(fitted: CalibratedModel) -> Iterator[tuple[str, ir.Model]]:
    """Yield the int16x8 network with each kind of ranges."""
    yield "those of int8", widen(fitted.to_qdq()[0])
    for times in ROOMS:
        with patch.object(room, "_ROOM", times):
            wide = room.with_room(fitted)
        yield f"{times:g} times the extremes", widen(wide.to_qdq()[0])


def rows_of(task: Task) -> Iterator[list[str]]:
    samples = data(task)
    network = network_of(task)
    expected = run(network, samples.unseen)
    fitted, _ = fit(optimize(network), [[sample] for sample in samples.calibration])
    name = f"{task.name}{'*' if task.name in CHOSEN_ON else ''}"
    yield [
        name,
        "int8",
        *kept_figures(task, samples, expected, run(fitted.to_qdq()[0], samples.unseen)),
    ]
    for title, model in forms(fitted):
        yield [name, title, *kept_figures(task, samples, expected, run(model, samples.unseen))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[task.name for task in TASKS])
    arguments = parser.parse_args()
    rows = []
    for task in TASKS:
        for row in rows_of(task) if task.name in arguments.networks else ():
            rows.append([*row, *[""] * (6 - len(row))])
            sys.stderr.write(" | ".join(row) + "\n")
    publish(
        "int16_ranges",
        [
            "# Ranges of 16-bit activations",
            "",
            "What int16x8 keeps of trained networks on pictures that calibration did not see, by",
            "the ranges of its activations: those of int8, which may clip, and so many times what",
            "calibration saw (128 samples; no further than 16 times those of int8, and than the",
            "bounds of a Clip). What is kept is the class, the area of text or the text; of the",
            "networks that read text first for rendered words, then for real pictures. Twice was",
            "chosen on the networks with a star, and on small ones of the tests where channels of",
            "very different size need the steps.",
            machine("edgeconv", "onnxruntime"),
            "",
            *markdown_table(
                ["network", "ranges", "kept", "SQNR", "kept, real", "SQNR, real"], rows
            ),
        ],
    )


if __name__ == "__main__":
    main()
