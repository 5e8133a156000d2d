"""Measure time and memory of an export of MobileNetV2, beside PyTorch's own exporter.

Each measurement runs in a fresh process, and the kinds of export take turns. The clock starts once
the network is built and the libraries are imported. The memory is the process's highest resident
size, imports included.

With ``--whole NAME`` the whole command ``edgeconv export timm:NAME`` is measured beside a process
that only builds the network and calls ``torch.onnx.export``, from start to end of each process.

    .venv/bin/python -m benchmarks.export_time
    .venv/bin/python -m benchmarks.export_time --whole mobilenetv3_small_100
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.measuring import machine, markdown_table, median_and_range, publish
from edgeconv.units import format_bytes, format_duration, format_ratio

if TYPE_CHECKING:
    from torch import nn

SIZE = 224
IMAGES = 128


def nothing(images: Path, out: Path) -> Callable[[], object]:
    _network()
    return lambda: None


def torch_only(images: Path, out: Path) -> Callable[[], object]:
    import torch

    network = _network()

    def run() -> None:
        program = torch.export.export(network, (torch.rand(1, 3, SIZE, SIZE),))
        exported = torch.onnx.export(program, dynamo=True, opset_version=20, verbose=False)
        assert exported is not None
        exported.save(out / "model.onnx")

    return run


def float_tflite(images: Path, out: Path) -> Callable[[], object]:
    from edgeconv.bundle import Format, Precision
    from edgeconv.export import export

    network = _network()
    return lambda: export(
        network,
        out=out / "bundle",
        input_size=(SIZE, SIZE),
        formats=(Format.TFLITE,),
        precisions=(Precision.FLOAT32,),
    )


def four_files(images: Path, out: Path) -> Callable[[], object]:
    from edgeconv.export import export

    network = _network()
    return lambda: export(
        network,
        out=out / "bundle",
        input_size=(SIZE, SIZE),
        calibration=images,
        calibration_size=IMAGES,
    )


TORCH = "only `torch.export` and `torch.onnx.export`"
KINDS = {
    "import and build the network": nothing,
    TORCH: torch_only,
    "float32 TFLite, verified": float_tflite,
    f"four files, {IMAGES} calibration images, verified": four_files,
}


def _network() -> nn.Module:
    """Build MobileNetV2, and import all of torch and edgeconv, so that every kind starts equal."""
    import torch
    from torch import nn

    import edgeconv.export.api  # noqa: F401
    from edgeconv.models.mobilenet_v2 import mobilenet_v2

    torch.manual_seed(0)
    network = mobilenet_v2().eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as if trained: folding has something to fold
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.normal_(layer.bias, std=0.1)
    return network


@dataclass(frozen=True)
class Measurement:
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measure_here(kind: str, images: Path) -> Measurement:
    """Run one kind of export in this process, which :func:`measure` started for it."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as out:
        run = KINDS[kind](images, Path(out))
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return Measurement(seconds, cpu_seconds, peak)


def measure(kind: str, images: Path) -> Measurement:
    command = [
        sys.executable,
        "-m",
        "benchmarks.export_time",
        "--kind",
        kind,
        "--images",
        str(images),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def write_images(folder: Path) -> None:
    """Write JPEG files of smooth color gradients with edges, which have structure, unlike noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0 : SIZE + 32, 0 : SIZE + 32] / SIZE
    for index in range(IMAGES):
        angle, phase = random.uniform(0, 2 * np.pi, (2, 3))
        waves = np.sin(6 * (x[..., None] * np.cos(angle) + y[..., None] * np.sin(angle)) + phase)
        edge = (x + y < random.uniform(0.5, 1.5))[..., None]
        pixels = (127.5 * (1 + np.where(edge, waves, -waves))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.jpg")


TORCH_PROCESS = """
import sys, timm, torch
network = timm.create_model(sys.argv[1]).eval()
size = timm.data.resolve_model_data_config(network)["input_size"]
torch.onnx.export(
    network, (torch.rand(1, *size),), sys.argv[2], dynamo=True, opset_version=20, verbose=False
)
"""


def whole_processes(name: str, out: Path) -> dict[str, list[str]]:
    """The two commands to compare, each with its caption."""
    formats = ["--format", "onnx", "--format", "tflite", "--precision", "float32"]
    export = ["edgeconv", "export", f"timm:{name}", *formats, "--out", str(out / "bundle")]
    file = str(out / "model.onnx")
    return {
        "`torch.onnx.export`": [sys.executable, "-c", TORCH_PROCESS, name, file],
        "`edgeconv export`, ONNX and TFLite, verified": [sys.executable, "-m", *export],
    }


def processor_seconds(command: list[str]) -> float:
    """User and system time of a process and all that it starts."""
    # An installed package is compiled: the first process leaves that to the others.
    compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    before = os.times()
    subprocess.run(command, check=True, capture_output=True, env=compiled)
    after = os.times()
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system


def report_whole(name: str, repetitions: int) -> list[str]:
    """Measure both processes of a network of timm, taking turns."""
    found: dict[str, list[float]] = {}
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as out:
            for caption, command in whole_processes(name, Path(out)).items():
                found.setdefault(caption, []).append(processor_seconds(command))
    base = min(next(iter(found.values())))
    rows = [
        [caption, format_duration(min(times)), format_ratio(min(times) / base)]
        for caption, times in found.items()
    ]
    return [
        f"# Whole export of timm's {name}, float32",
        "",
        "Each process was measured from start to end, imports and building the network included.",
        f"The processes took turns {repetitions} times; the time is the smallest sum of user and",
        "system time.",
        machine("edgeconv", "torch", "timm", "onnx", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(["process", "processor time", "ratio"], rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--whole", metavar="NAME", help="measure whole processes on timm's NAME")
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.kind is not None:
        found = measure_here(arguments.kind, arguments.images)
        sys.stdout.write(json.dumps(vars(found)) + "\n")
        return
    if arguments.whole is not None:
        publish("export_time_whole", report_whole(arguments.whole, arguments.repetitions))
        return
    measured: dict[str, list[Measurement]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        for _ in range(arguments.repetitions):
            for kind in KINDS:
                measured[kind].append(measure(kind, Path(folder)))
    publish("export_time", report(measured, arguments.repetitions))


def report(measured: dict[str, list[Measurement]], repetitions: int) -> list[str]:
    base = measured[TORCH]
    rows = []
    for kind, found in measured.items():
        times = median_and_range([one.seconds for one in found])
        cpu = statistics.median(one.cpu_seconds for one in found)
        ratios = [a.cpu_seconds / b.cpu_seconds for a, b in zip(found, base, strict=True)]
        ratio = format_ratio(statistics.median(ratios))
        peak = format_bytes(round(statistics.median(one.peak_bytes for one in found)))
        rows.append(
            [kind, "", "", "", peak]
            if KINDS[kind] is nothing
            else [kind, times, format_duration(cpu), ratio, peak]
        )
    return [
        "# Export of MobileNetV2, 1x3x224x224",
        "",
        f"Each kind ran in {repetitions} fresh processes, and the kinds took turns. The columns",
        "are the median wall time [minimum, maximum], the median processor time, the median ratio",
        "of processor times to PyTorch's exporter in the same turn, and the median peak memory. On",
        "a machine with other work the processor time is steadier than the wall time.",
        machine("edgeconv", "torch", "onnx", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(["kind", "wall time", "processor time", "ratio", "peak memory"], rows),
    ]


if __name__ == "__main__":
    main()
