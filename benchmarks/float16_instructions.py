"""Count Arm instructions of float16 ONNX files beside float32 ones, on Cortex-A72 and A76.

QEMU counts them (docs/emulated-pi.md), so any machine gives the same figures. A float16 file is
counted with inputs and outputs in float32 and in float16. The weights are random, but every layer
matters for the output.

    .venv/bin/python -m benchmarks.float16_instructions
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.arm_instructions import (
    CPUS,
    Subject,
    millions,
    network_of,
    pinned_version,
    ratio,
    subject,
)
from benchmarks.measuring import markdown_table, publish
from edgeconv.bundle import Format, IoType, Precision
from edgeconv.device.emulated import Cpu, count_instructions
from edgeconv.device.messages import Runtime
from edgeconv.export import export

NETWORKS = ("mobilenet_v2", "mobilenet_v3_large", "resnet18")
TOKENS = (1, 64, 128)
JOBS = 2


def networks() -> Iterator[tuple[Subject, nn.Module]]:
    """Three convolutional networks and two layers of a transformer."""
    for name in NETWORKS:
        one = subject(name, 0, full=False)
        yield one, network_of(one)
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(TOKENS[-1], 4, 4 * TOKENS[-1], batch_first=True)
    yield Subject("transformer", TOKENS), nn.TransformerEncoder(layer, 2).eval()


def files(one: Subject, network: nn.Module, folder: Path) -> list[Path]:
    """The float32 file, and the float16 files with float32 and float16 at their ends."""
    made = []
    for io, precisions in (
        (IoType.FLOAT32, [Precision.FLOAT32, Precision.FLOAT16]),
        (IoType.FLOAT16, [Precision.FLOAT16]),
    ):
        bundle = export(
            network,
            out=folder / io.value,
            formats=[Format.ONNX],
            precisions=precisions,
            io=io,
            input_size=",".join(map(str, one.shape)),
            verify=False,
        )
        made += [bundle.file(artifact) for artifact in bundle.manifest.artifacts]
    return made


def rows() -> Iterator[list[str]]:
    """A row for each network and core."""
    for one, network in networks():
        with (
            tempfile.TemporaryDirectory(prefix="edgeconv-") as folder,
            ThreadPoolExecutor(JOBS) as pool,
        ):
            made = files(one, network, Path(folder))
            for cpu, core in CPUS.items():
                single, half, ends = pool.map(partial(_total, cpu), made)
                yield [
                    one.name,
                    "x".join(map(str, one.shape)),
                    core,
                    *map(millions, (single, half, ends)),
                    ratio(half, single),
                    ratio(ends, single),
                ]


def _total(cpu: Cpu, file: Path) -> int:
    return count_instructions(file, cpu, Runtime.ONNXRUNTIME).total


def main() -> None:
    columns = ["network", "input", "core", "float32", "float16", "float16, --io float16"]
    publish(
        "float16_instructions",
        [
            "# Arm instructions of float16 ONNX files",
            "",
            "Million instructions of one inference under ONNX Runtime",
            f"{pinned_version('onnxruntime')} on one thread, on emulated cores. A count is the",
            "same on every machine; it is not a time. The weights are random.",
            "",
            *markdown_table([*columns, "float16 ÷ float32", "with --io float16"], rows()),
        ],
    )


if __name__ == "__main__":
    main()
