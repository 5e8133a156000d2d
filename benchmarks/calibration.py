"""Compare range methods on trained networks, and measure time and memory of calibration.

    .venv/bin/python -m benchmarks.calibration ranges FOLDER
    .venv/bin/python -m benchmarks.calibration cost

``FOLDER`` is the folder that ``benchmarks.trained.train`` wrote. The first command writes
``results/calibration_ranges.md``, the second writes ``results/calibration_cost.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.trained.adversarial import heavy_tail
from benchmarks.trained.folder import Metric, Trained, read_data, read_index
from edgeconv.bundle import TensorInfo
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.calibration.calibrate import calibrate
from edgeconv.export.quantize.plan import plan
from edgeconv.export.runtimes import OnnxRunner
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.metrics import sqnr_db
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

METHODS = list(RangeMethod)
FIXED = [method for method in METHODS if method is not RangeMethod.AUTO]
SAMPLES = 128  # calibration samples, the default of `edgeconv export`
HELD_OUT = 512
WITHOUT_PASSES = QuantizeOptions(equalization=False, bias_absorption=False, bias_correction=False)

ZOO = {"mobilenet_v2": 224, "resnet18": 224, "efficientnet_lite0": 224, "resnet8": 32}
TIMED_SAMPLES = 60
MEMORY_SAMPLES = (100, 10_000)
MEMORY_SIZE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    ranges = commands.add_parser("ranges")
    ranges.add_argument("folder", type=Path)
    ranges.add_argument("--only", nargs="+", metavar="NAME")
    commands.add_parser("cost")
    memory = commands.add_parser("memory", help="one process of `cost`")
    memory.add_argument("data", type=Path)
    memory.add_argument("count", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "ranges":
        compare_ranges(arguments.folder, arguments.only)
    elif arguments.command == "cost":
        measure_cost()
    else:
        report_memory(arguments.data, arguments.count)


@dataclass(frozen=True)
class Score:
    """Figures of int8 on held-out samples: top-1 in percent (None for masks) and SQNR in dB."""

    top1: float | None
    sqnr_db: float


def compare_ranges(folder: Path, only: Sequence[str] | None) -> None:
    trained = [t for t in read_index(folder) if only is None or t.name in only]
    if not trained:
        sys.exit(
            f"{folder} has no trained networks; train them: python -m benchmarks.trained.train"
        )
    lines = [
        "# Range methods on trained networks",
        "",
        f"int8 compared with float on up to {HELD_OUT} held-out samples, after calibration on",
        f"{SAMPLES} samples. A cell has the top-1 of int8 minus that of float in points / the SQNR",
        "in dB.",
        machine("edgeconv", "onnxruntime"),
    ]
    classifiers = [t for t in trained if t.metric is Metric.TOP1]
    settings = [
        ("As exported by default", trained, QuantizeOptions(), False),
        ("Without the accuracy passes", trained, WITHOUT_PASSES, False),
        ("One value 200 times too large in 3 % of the images", classifiers, WITHOUT_PASSES, True),
    ]
    for title, networks, options, spoilt in settings:
        if not networks:
            continue
        scores = {t.name: _scores(t, folder, options, spoilt=spoilt) for t in networks}
        rows = [
            [name, *(_cell(row[m], row[None]) for m in METHODS)] for name, row in scores.items()
        ]
        rows.append(["**mean**", *(_mean(scores, method) for method in METHODS)])
        header = ["network", *(method.value for method in METHODS)]
        lines += ["", f"## {title}", "", *markdown_table(header, rows)]
    publish("calibration_ranges", lines)


def _scores(
    trained: Trained, folder: Path, options: QuantizeOptions, *, spoilt: bool
) -> dict[RangeMethod | None, Score]:
    """Score one network by range method; the key None stands for the float network."""
    x = read_data(folder / trained.calibration).x[:SAMPLES]
    held_out = read_data(folder / trained.evaluation)
    graph = _graph(trained.network(folder).eval(), x[:1])
    inputs = held_out.x[:HELD_OUT]
    if spoilt:
        x, inputs = heavy_tail(x), heavy_tail(inputs, seed=1)
    batches: list[Sample] = [(row[None],) for row in x]
    expected = _run(graph, inputs)
    labels = held_out.y[:HELD_OUT] if trained.metric is Metric.TOP1 else None
    scores: dict[RangeMethod | None, Score] = {None: _score(expected, expected, labels)}
    for method in METHODS:
        model = quantize(graph, batches, replace(options, range_method=method)).model
        scores[method] = _score(expected, _run(model, inputs), labels)
    sys.stderr.write(f"{trained.name}: {scores}\n")
    return scores


def _graph(network: torch.nn.Module, example: npt.NDArray[Any]) -> ir.Model:
    with torch.no_grad():
        outputs = network(torch.from_numpy(example))
    count = len(outputs) if isinstance(outputs, (tuple, list)) else 1
    names = [f"output{index}" for index in range(count)]
    return optimize(capture_module(network, (example,), names, 20))


def _run(model: ir.Model, inputs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the last output for each input: the final exit of a network with early exits."""
    proto = ir.to_proto(model).SerializeToString()
    runner = OnnxRunner(proto, input_infos(model), output_infos(model))
    return np.concatenate([runner.run((row[None],))[-1] for row in inputs])


def _score(
    expected: npt.NDArray[Any], got: npt.NDArray[Any], labels: npt.NDArray[Any] | None
) -> Score:
    top1 = None if labels is None else 100 * float(np.mean(got.argmax(-1) == labels))
    return Score(top1, sqnr_db(expected, got))


def _cell(score: Score | None, base: Score | None) -> str:
    assert score is not None
    assert base is not None
    points = "–" if score.top1 is None or base.top1 is None else f"{score.top1 - base.top1:+.1f}"
    return f"{points} / {score.sqnr_db:.1f}"


def _mean(scores: dict[str, dict[RangeMethod | None, Score]], method: RangeMethod) -> str:
    changes = [
        row[method].top1 - base  # type: ignore[operator]  # classifiers have both
        for row in scores.values()
        if (base := row[None].top1) is not None
    ]
    points = f"{statistics.mean(changes):+.2f}" if changes else "–"
    return f"{points} / {statistics.mean(row[method].sqnr_db for row in scores.values()):.1f}"


def measure_cost() -> None:
    lines = [
        "# What calibration costs",
        "",
        "Milliseconds per sample: the median of five runs in turns. In parentheses: the throughput",
        "divided by that of float inference under ONNX Runtime with one thread; the goal is 0.5.",
        "The cost that a calibration has once (the session, choosing the ranges) is measured with",
        "two samples and subtracted.",
        machine("edgeconv", "onnxruntime", "numpy"),
        "",
        *_throughput(),
        "",
        f"## Memory: MobileNetV2 at {MEMORY_SIZE}x{MEMORY_SIZE}, {RangeMethod.MSE.value}",
        "",
        *_memory(),
    ]
    publish("calibration_cost", lines)


def _throughput() -> list[str]:
    rows = []
    for name, size in ZOO.items():
        shape = (3, size, size)
        network = randomize_(create_model(name), shape=shape)
        samples: list[Sample] = [
            (structured_input((1, *shape), seed).numpy(),) for seed in range(TIMED_SAMPLES)
        ]
        graph = _graph(network, samples[0][0])
        infer = _seconds_of_inference(graph)
        groups = plan(graph.graph).groups()
        plain: list[float] = []
        seconds: dict[RangeMethod, list[float]] = {method: [] for method in FIXED}
        for _ in range(5):
            plain.append(infer(samples))
            for method in FIXED:
                start = time.perf_counter()
                calibrate(graph, groups, samples[:2], method)
                once = time.perf_counter()
                calibrate(graph, groups, samples, method)
                whole = time.perf_counter() - once
                seconds[method].append((whole - (once - start)) / (TIMED_SAMPLES - 2))
        base = statistics.median(plain)
        cells = [
            f"{1e3 * (each := statistics.median(seconds[method])):.2f} ({base / each:.2f})"
            for method in FIXED
        ]
        rows.append([f"{name}, {size}x{size}", f"{1e3 * base:.2f}", *cells])
    return markdown_table(["network", "float inference", *(m.value for m in FIXED)], rows)


def _seconds_of_inference(graph: ir.Model) -> Any:
    proto = ir.to_proto(graph).SerializeToString()
    runner = OnnxRunner(proto, input_infos(graph), output_infos(graph))

    def infer(samples: list[Sample]) -> float:
        start = time.perf_counter()
        for sample in samples:
            runner.run(sample)
        return (time.perf_counter() - start) / len(samples)

    return infer


def _memory() -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "samples.npy"
        rng = np.random.default_rng(0)
        shape = (max(MEMORY_SAMPLES), 3, MEMORY_SIZE, MEMORY_SIZE)
        array = np.lib.format.open_memmap(data, "w+", np.float32, shape)
        for first in range(0, shape[0], 500):
            array[first : first + 500] = rng.standard_normal((500, *shape[1:]))
        array.flush()
        del array
        for count in MEMORY_SAMPLES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.calibration",
                "memory",
                str(data),
                str(count),
            ]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seen = json.loads(printed.splitlines()[-1])
            held = count * int(np.prod(shape[1:])) * 4 / 2**20
            cells = (held, seen["before"], seen["peak"])
            rows.append([f"{count}", *(f"{mebibytes:.0f} MiB" for mebibytes in cells)])
    return markdown_table(["samples", "their size", "process before", "peak during"], rows)


def report_memory(data: Path, count: int) -> None:
    """Calibrate once, and print the resident memory before and the peak during it, in MiB."""
    shape = (3, MEMORY_SIZE, MEMORY_SIZE)
    network = randomize_(create_model("mobilenet_v2", width_mult=0.35), shape=shape)
    graph = _graph(network, structured_input((1, *shape), 0).numpy())
    info = TensorInfo(name="x", shape=(1, *shape), dtype="float32")
    feed = SampleBatches(open_samples(data, [info], None), count=count, batch=1, keep=0)
    # On Linux this resets the peak to the present size, so that the capture's peak does not count.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _resident("VmRSS")
    calibrate(graph, plan(graph.graph).groups(), feed, RangeMethod.MSE)
    sys.stdout.write(json.dumps({"before": before, "peak": _resident("VmHWM")}) + "\n")


def _resident(field: str) -> float:
    """Read a memory field of /proc/self/status, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
