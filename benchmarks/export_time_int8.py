"""Measure the whole command that writes four files of a network of timm, by wall time.

Each process is measured from start to end, imports included: ``edgeconv export timm:NAME`` with
float32 and int8 for both formats, 128 calibration images of 224x224 pixels, and verification. The
efforts take turns.

    .venv/bin/python -m benchmarks.export_time_int8 mobilenetv2_100 ghostnet_100 densenet121
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.export_time import IMAGES, processor_seconds, write_images
from benchmarks.measuring import machine, markdown_table, median_and_range, publish
from edgeconv.units import format_duration

EFFORTS = (0, 1)


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_seconds: float


def export_once(name: str, effort: int, images: Path) -> Run:
    """Run the whole command once, in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory() as out:
        files = ["--format", "onnx", "--format", "tflite"]
        precisions = ["--precision", "float32", "--precision", "int8"]
        data = ["--calibration", str(images), "--calibration-size", str(IMAGES)]
        where = ["--effort", str(effort), "--out", str(Path(out) / "bundle")]
        command = [sys.executable, "-m", "edgeconv", "export", f"timm:{name}"]
        start = time.perf_counter()
        cpu = processor_seconds([*command, *files, *precisions, *data, *where])
        return Run(time.perf_counter() - start, cpu)


def measure(names: list[str], repetitions: int) -> list[str]:
    """The page: one row for each network and effort."""
    found: dict[tuple[str, int], list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        for _ in range(repetitions):
            for name in names:
                for effort in EFFORTS:
                    try:
                        run = export_once(name, effort, Path(folder))
                    except subprocess.CalledProcessError as error:
                        sys.exit(error.stderr.decode(errors="replace"))
                    found.setdefault((name, effort), []).append(run)
    rows = [
        [
            name,
            str(effort),
            median_and_range([run.seconds for run in runs]),
            format_duration(min(run.cpu_seconds for run in runs)),
        ]
        for (name, effort), runs in found.items()
    ]
    return [
        "# Four files of networks of timm, the whole command",
        "",
        f"float32 and int8 for ONNX and TFLite, {IMAGES} calibration images of 224x224 pixels,",
        "verified. Each process was measured from start to end, imports and building the network",
        f"included. The commands took turns {repetitions} times. The columns are the median wall",
        "time [minimum, maximum] and the smallest sum of user and system time.",
        machine("edgeconv", "torch", "timm", "onnx", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(["network", "effort", "wall time", "processor time"], rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="networks of timm")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    publish("export_time_int8", measure(arguments.names, arguments.repetitions))


if __name__ == "__main__":
    main()
