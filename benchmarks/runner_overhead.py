"""How much the harness adds to an inference: the runner against a loop in C.

Both run the same ONNX model under the same library, in turns (C, runner, runner, C, …), each time
in a process of its own, on one core. Needs gcc. Run it on a quiet machine:

    python benchmarks/runner_overhead.py --out benchmarks/results/runner_overhead.md
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bench import statistics
from edgeconv.device import RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Samples

WARMUP_SHARE = 0.25  # of the C loop's samples, left out like the runner's warm-up
SIZE = 256
COLUMNS = ("Layers", "C loop", "Runner", "Added", "Added, of 1 ms")


def write_model(path: Path, layers: int) -> None:
    """A vector of SIZE times the same matrix again and again: fits the cache, the same for any
    values, and its latency is set by the number of layers."""
    # Scaled so that the product keeps the vector's length: no overflow, no denormals.
    weights = np.random.default_rng(0).normal(scale=SIZE**-0.5, size=(SIZE, SIZE))
    names = ["x", *(f"h{i}" for i in range(1, layers)), "y"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [before, "w"], [after])
            for before, after in itertools.pairwise(names)
        ],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIZE])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def compile_yardstick(folder: Path) -> Path:
    program = folder / "yardstick"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-O2", "-o", program, source, "-ldl"], check=True)
    return program


def time_in_c(program: Path, model: Path, seconds: float) -> list[int]:
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")
    command = ["taskset", "-c", "0", program, library, model, str(SIZE), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    samples = [int(line) for line in done.stdout.split()]
    return samples[int(len(samples) * WARMUP_SHARE) :]


def time_in_runner(model: Path, seconds: float) -> list[int]:
    request = RunRequest(
        model=str(model),
        affinity=(0,),
        warmup_seconds=seconds * WARMUP_SHARE,
        min_seconds=seconds * (1 - WARMUP_SHARE),
    )
    events = LocalDevice().run(request)
    return [ns for event in events if isinstance(event, Samples) for ns in event.ns]


def compare(
    program: Path, model: Path, pairs: int, seconds: float
) -> tuple[list[list[int]], list[list[int]]]:
    in_c: list[list[int]] = []
    in_runner: list[list[int]] = []
    for pair in range(pairs):
        for is_c in (True, False) if pair % 2 == 0 else (False, True):
            if is_c:
                in_c.append(time_in_c(program, model, seconds))
            else:
                in_runner.append(time_in_runner(model, seconds))
    return in_c, in_runner


def row(name: str, in_c: Sequence[Sequence[int]], in_runner: Sequence[Sequence[int]]) -> list[str]:
    c, runner = statistics.median(in_c), statistics.median(in_runner)
    ratio = statistics.ratio(in_runner, in_c, paired=True)
    added = [(bound - 1) * c.value / 1e3 for bound in (ratio.value, ratio.low, ratio.high)]
    return [
        name,
        f"{c.value / 1e3:.2f} µs",
        f"{runner.value / 1e3:.2f} µs",
        f"{added[0]:+.2f} µs [{added[1]:+.2f}, {added[2]:+.2f}]",
        f"{added[0] / 10:+.2f} % [{added[1] / 10:+.2f}, {added[2] / 10:+.2f}]",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="processes of each kind")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each process")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 32, 512])
    parser.add_argument("--out", type=Path, help="write the table here too, as Markdown")
    arguments = parser.parse_args()
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    with tempfile.TemporaryDirectory() as folder:
        program = compile_yardstick(Path(folder))
        for layers in arguments.layers:
            model = Path(folder) / f"{layers}.onnx"
            write_model(model, layers)
            measured = compare(program, model, arguments.pairs, arguments.seconds)
            lines.append("| " + " | ".join(row(str(layers), *measured)) + " |")
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
