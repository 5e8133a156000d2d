"""Measure the whole command that writes four files of a network of timm, by wall time.

Each process is measured from start to end, imports included: ``edgeconv export timm:NAME`` with
float32 and int8 for both formats, 128 calibration images of 224x224 pixels, and verification. The
efforts take turns.

With ``--peer PYTHON``, the Python of an environment made from
``peers/requirements-litert-torch.txt``, litert-torch and ai-edge-quantizer take their turn with the
same pictures: one float32 and one int8 TFLite file, not verified.

    .venv/bin/python -m benchmarks.export_time_int8 mobilenetv2_100 ghostnet_100 densenet121
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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


def peer_once(python: Path, name: str, images: Path) -> Run:
    """Run litert-torch and ai-edge-quantizer once on the same pictures."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(python), "-m", "benchmarks.peers.export_timm", name, str(images), out]
        start = time.perf_counter()
        cpu = processor_seconds(command)
        return Run(time.perf_counter() - start, cpu)


def measure(names: list[str], repetitions: int, peer: Path | None) -> list[str]:
    """The page: one row for each network and way."""
    found: dict[tuple[str, str], list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder)
        write_images(images)
        ways: dict[str, Callable[[str], Run]] = {
            f"effort {effort}": partial(export_once, effort=effort, images=images)
            for effort in EFFORTS
        }
        if peer is not None:
            ways["litert-torch"] = lambda name: peer_once(peer, name, images)
        for _ in range(repetitions):
            for name in names:
                for way, once in ways.items():
                    try:
                        run = once(name)
                    except subprocess.CalledProcessError as error:
                        sys.exit(error.stderr.decode(errors="replace"))
                    found.setdefault((name, way), []).append(run)
    rows = [
        [
            name,
            way,
            median_and_range([run.seconds for run in runs]),
            format_duration(min(run.cpu_seconds for run in runs)),
        ]
        for (name, way), runs in found.items()
    ]
    return [
        "# Four files of networks of timm, the whole command",
        "",
        f"edgeconv: float32 and int8 for ONNX and TFLite, {IMAGES} calibration images of 224x224",
        "pixels, verified. Each process was measured from start to end, imports and building the",
        f"network included. The commands took turns, {repetitions} times each. The columns are the",
        "median wall time [minimum, maximum] and the smallest sum of user and system time.",
        *([_peer_packages(peer)] if peer is not None else []),
        machine("edgeconv", "torch", "timm", "onnx", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(["network", "exported by", "wall time", "processor time"], rows),
    ]


def _peer_packages(python: Path) -> str:
    """What the peer is, by the versions in its environment."""
    wanted = ("litert-torch", "ai-edge-quantizer", "torch")
    asked = f"from importlib.metadata import version as v; print(*map(v, {wanted}))"
    answer = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True)
    found = zip(wanted, answer.stdout.split(), strict=True)
    packages = ", ".join(f"{name} {release}" for name, release in found)
    return f"litert-torch: float32 and int8 for TFLite, not verified ({packages})."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help="networks of timm")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--peer", type=Path, metavar="PYTHON", help="Python of litert-torch")
    arguments = parser.parse_args()
    publish("export_time_int8", measure(arguments.names, arguments.repetitions, arguments.peer))


if __name__ == "__main__":
    main()
