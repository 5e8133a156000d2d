"""Count what tflite-runtime 2.14 makes of int8, beside float32 and LiteRT, on emulated boards.

tflite-runtime 2.14 is all that 32-bit Raspberry Pi OS has. QEMU counts (docs/emulated-pi.md), so
any machine gives the same figures. The weights are random but not degenerate; the calibration is
synthetic.

    .venv/bin/python -m benchmarks.old_runtime
    .venv/bin/python -m benchmarks.old_runtime --networks resnet8   # the result is only printed
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.arm_instructions import export_tflite, millions, ratio, subject
from benchmarks.measuring import markdown_table, publish
from edgeconv.bench.instructions import CountOptions, count
from edgeconv.bundle import Precision
from edgeconv.device.emulated import EmulatedDevice
from edgeconv.device.messages import Runtime

# Dense convolutions, and depthwise ones between narrow and wide tensors.
NETWORKS = ("resnet8", "mobilenet_v1", "mobilenet_v2")


@dataclass(frozen=True)
class Place:
    """A board, and a runtime there with XNNPACK or without."""

    board: str
    runtime: Runtime
    xnnpack: bool | None = None

    @property
    def name(self) -> str:
        without = " without XNNPACK" if self.xnnpack is False else ""
        return f"{self.board}, {self.runtime.value}{without}"


PLACES = (
    Place("pi3-32", Runtime.TFLITE_RUNTIME),
    Place("pi3-32", Runtime.TFLITE_RUNTIME, xnnpack=False),
    Place("pi4", Runtime.TFLITE_RUNTIME),
    Place("pi4", Runtime.TFLITE_RUNTIME, xnnpack=False),
    Place("pi4", Runtime.LITERT),
)


def counted(place: Place, files: dict[Precision, Path]) -> list[int]:
    """The instructions of float32 and int8."""
    device = EmulatedDevice.parse(f"emulated:{place.board}")
    options = CountOptions(runtime=place.runtime, xnnpack=place.xnnpack)
    wanted = [files[Precision.FLOAT32], files[Precision.INT8]]
    return [model.counts.total for model in count(wanted, options, device).models]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", default=NETWORKS, help="the result is only printed"
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    torch.set_num_threads(1)
    rows = []
    for name in given.networks:
        one = subject(name, 0, full=True)
        with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
            files = export_tflite(one, Path(folder))
            for place in PLACES:
                plain, int8 = counted(place, files)
                size = "x".join(map(str, one.shape))
                row = [f"{name} {size}", place.name, millions(plain), millions(int8)]
                rows.append([*row, ratio(int8, plain)])
                sys.stderr.write(f"{', '.join(rows[-1])}\n")
    lines = [
        "# int8 under tflite-runtime 2.14",
        "",
        "Million instructions of one inference on one thread, counted on emulated boards. A count",
        "is the same on every machine; it is not a time.",
        "The script is `benchmarks/old_runtime.py`.",
        "",
        *markdown_table(["network", "board and runtime", "float32", "int8", "int8/float32"], rows),
    ]
    if tuple(given.networks) == NETWORKS:
        publish("old_runtime", lines)
    else:
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
