"""Measure how much the runner adds to an inference, beside loops in C.

"Apart": the runner and a C program run in turns (C, runner, runner, C, …), each measurement in a
process of its own. This includes every difference between the two, also that the Python package
loads its own build of the library. "Together": the runner's timing function and a C loop take turns
in one process over one session, with one inference each. This shows only the harness.

The script needs gcc and taskset. Run it on a quiet machine:

    .venv/bin/python -m benchmarks.runner_overhead --out benchmarks/results/runner_overhead.md
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bench import statistics
from edgeconv.device import RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Samples
from edgeconv.runner.timing import timed

SIZE = 256
WARMUP_SHARE = 0.25  # of the C program's samples, left out like the runner's warm-up
HEAD = ("", "Layers", "C", "Runner", "Added", "Added, of 1 ms")

INTRODUCTION = """# What the runner adds to an inference

The network is a chain of small matrix products under ONNX Runtime {version}, with one thread on one
core; figures are medians with 95 % intervals. "Apart": the runner beside a C program, each
measurement in a process of its own. This includes the other differences between the two, which load
different builds of the library: a bare Python loop differs from the C program as much as the runner
does. "Together": the runner's timing function and a C loop take turns over the same session, with
one inference each. The script is `benchmarks/runner_overhead.py`.

"""

Pair = tuple[list[list[int]], list[list[int]]]


def write_model(path: Path, layers: int) -> None:
    """Write a network that multiplies a vector of SIZE by the same matrix ``layers`` times.

    It fits into the cache, its latency does not depend on the values, and the number of layers
    sets the latency.
    """
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


def compile_yardstick(folder: Path, *flags: str) -> Path:
    program = folder / f"yardstick{len(flags)}"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["gcc", "-O2", *flags, "-o", program, source, "-ldl"], check=True)
    return program


def library() -> Path:
    (path,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")
    return path


def time_in_c(program: Path, model: Path, seconds: float) -> list[int]:
    command = ["taskset", "-c", "0", program, library(), model, str(SIZE), str(seconds)]
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


def apart(program: Path, model: Path, pairs: int, seconds: float) -> Pair:
    return in_turns(
        lambda: time_in_c(program, model, seconds), lambda: time_in_runner(model, seconds), pairs
    )


def together(yardstick: Path, model: Path, pairs: int, seconds: float) -> Pair:
    loaded = ctypes.CDLL(os.fspath(yardstick))
    if loaded.prepare(os.fsencode(library()), os.fsencode(model), ctypes.c_int64(SIZE)) != 0:
        raise SystemExit("the yardstick cannot load the model")

    def in_c(runs: int) -> list[int]:
        samples = (ctypes.c_int64 * runs)()
        loaded.timed(samples, ctypes.c_int64(runs))
        return list(samples)

    in_c(1000)
    runs = max(10, int(seconds * 1e9 / np.median(in_c(100))))
    os.sched_setaffinity(0, [0])
    found: Pair = ([], [])
    for _ in range(pairs):
        turns = in_turns(lambda: in_c(1), lambda: timed(loaded.infer, 1), runs)
        for samples, one in zip(found, turns, strict=True):
            samples.append([sample for (sample,) in one])
    return found


def in_turns(c: Callable[[], list[int]], runner: Callable[[], list[int]], pairs: int) -> Pair:
    found: Pair = ([], [])
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            found[which].append((c, runner)[which]())
    return found


def row(how: str, layers: int, pair: Pair) -> str:
    c, runner = statistics.median(pair[0]), statistics.median(pair[1])
    ratio = statistics.ratio(pair[1], pair[0], paired=True)
    added = [(bound - 1) * c.value / 1e3 for bound in (ratio.value, ratio.low, ratio.high)]
    cells = (
        how,
        str(layers),
        f"{c.value / 1e3:.2f} µs",
        f"{runner.value / 1e3:.2f} µs",
        f"{added[0]:+.2f} µs [{added[1]:+.2f}, {added[2]:+.2f}]",
        f"{added[0] / 10:+.2f} % [{added[1] / 10:+.2f}, {added[2] / 10:+.2f}]",
    )
    return "| " + " | ".join(cells) + " |"


def rows(folder: Path, layers: list[int], pairs: int, seconds: float) -> Iterator[str]:
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + "---|" * len(HEAD)
    program = compile_yardstick(folder)
    shared = compile_yardstick(folder, "-shared", "-fPIC")
    for count in layers:
        model = folder / f"{count}.onnx"
        write_model(model, count)
        yield row("apart", count, apart(program, model, pairs, seconds))
        yield row("together", count, together(shared, model, pairs, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="processes of each kind")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each process")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 32, 512])
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    arguments = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(Path(folder), arguments.layers, arguments.pairs, arguments.seconds):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            lines.append(line)
    if arguments.out is not None:
        text = INTRODUCTION.format(version=onnxruntime.__version__) + "\n".join((*lines, ""))
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
