"""Count int8 beside float32 under ONNX Runtime and LiteRT, on the 64-bit cores of three boards.

Small networks of every kind that the zoo has: dense and depthwise convolutions, squeeze and
excitation, shuffled and joined channels, dilated 1-D convolutions, matrix products. QEMU counts
(docs/emulated-pi.md), so any machine gives the same figures. The weights are random but not
degenerate; the calibration is synthetic.

    .venv/bin/python -m benchmarks.int8_runtimes
    .venv/bin/python -m benchmarks.int8_runtimes --networks resnet8   # the result is only printed
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.arm_instructions import (
    CALIBRATION_SIZE,
    PRECISIONS,
    Subject,
    millions,
    network_of,
    ratio,
    subject,
)
from benchmarks.measuring import markdown_table, publish
from edgeconv.bundle import Format, Precision
from edgeconv.device.emulated import Cpu, count_instructions
from edgeconv.export import export

NETWORKS = (
    "autoencoder",
    "densenet121",
    "ds_cnn",
    "efficientnet_b0",
    "ghostnet",
    "mobilenet_v1_025",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v4_conv_small",
    "resnet8",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "wavenet_kws",
)
CPUS = {Cpu.A53: "pi3", Cpu.A72: "pi4", Cpu.A76: "pi5"}
RUNTIMES = {Format.ONNX: "ONNX Runtime", Format.TFLITE: "LiteRT"}


def rows_of(one: Subject) -> Iterator[list[str]]:
    """A row for each runtime: on every core float32, int8 and their ratio."""
    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        bundle = export(
            network_of(one),
            out=Path(folder) / one.name,
            formats=list(RUNTIMES),
            precisions=PRECISIONS,
            calibration="random",
            calibration_size=CALIBRATION_SIZE,
            input_size=one.shape,
            verify=False,
        )
        files = {(a.format, a.precision): bundle.file(a) for a in bundle.manifest.artifacts}
        for format, runtime in RUNTIMES.items():
            row = [one.name, "x".join(map(str, one.shape)), runtime]
            for cpu in CPUS:
                plain, int8 = (
                    count_instructions(files[format, precision], cpu).total
                    for precision in (Precision.FLOAT32, Precision.INT8)
                )
                row += [millions(plain), millions(int8), ratio(int8, plain)]
            sys.stderr.write(f"{', '.join(row)}\n")
            yield row


def lines_of(rows: Sequence[Sequence[str]]) -> list[str]:
    columns = ["network", "input", "runtime"]
    for board in CPUS.values():
        columns += [f"{board}: float32", f"{board}: int8", f"{board}: ratio"]
    cores = ", ".join(f"{board} ({cpu.value})" for cpu, board in CPUS.items())
    return [
        "# int8 beside float32 under ONNX Runtime and LiteRT",
        "",
        "Million instructions of one inference on one thread, counted on emulated boards:",
        f"{cores}. A count is the same on every machine; it is not a time.",
        "The script is `benchmarks/int8_runtimes.py`.",
        "",
        *markdown_table(columns, rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=NETWORKS, help="the result is only printed"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    torch.set_num_threads(1)
    rows = [row for name in given.networks for row in rows_of(subject(name, 0, full=False))]
    if tuple(given.networks) == NETWORKS:
        publish("int8_runtimes", lines_of(rows))
    else:
        sys.stdout.write("\n".join(lines_of(rows)) + "\n")


if __name__ == "__main__":
    main()
