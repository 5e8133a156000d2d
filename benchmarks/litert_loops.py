"""Hold the runner's latency of TFLite files against LiteRT's own benchmark tool and a plain loop.

The wheel of ai-edge-litert has a benchmark tool, ``ai_edge_litert.tools.benchmark_litert_model``.
It is a loop around the CompiledModel, whose model and buffers are made here by the same calls, but
its figures are rounded to 10 µs. The plain loop calls the Interpreter. Runner, tool and loop take
turns of one inference each in one process on one core, so that other work on the machine disturbs
all of them alike; several processes follow each other:

    .venv/bin/python -m benchmarks.litert_loops
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.bench import statistics
from edgeconv.bench.statistics import Figure
from edgeconv.device import RunRequest
from edgeconv.runner.inputs import make_inputs
from edgeconv.runner.request import Request
from edgeconv.runner.tflite_model import TfliteModel
from edgeconv.runner.timing import timed
from edgeconv.units import format_duration

# Inferences of up to a millisecond are often left in peace even on a machine that has other work.
NETWORKS = {"resnet8": 32, "mobilenet_v1": 96}
RUNNER, LOOP, TOOL = "runner", "loop around Interpreter", "benchmark_litert_model"
WARMUP = 50

Way = Callable[[], int]


def in_runner(file: Path) -> Way:
    """The runner's own model, inputs and timing."""
    import ai_edge_litert.interpreter

    model = TfliteModel(ai_edge_litert.interpreter, str(file), threads=1)
    model.feed(make_inputs(model.inputs, Request(**RunRequest(model=str(file)).model_dump())))
    infer = model.inference()
    return lambda: timed(infer, 1)[0]


def in_loop(file: Path) -> Way:
    """LiteRT's Interpreter, as its documentation calls it."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=str(file), num_threads=1)
    model.allocate_tensors()
    for each in model.get_input_details():
        values = np.random.default_rng(0).integers(-100, 100, each["shape"])
        scaled = values / 100 if np.dtype(each["dtype"]).kind == "f" else values
        model.set_tensor(each["index"], scaled.astype(each["dtype"]))
    return lambda: elapsed(model.invoke)


def in_tool(file: Path) -> Way:
    """The tool's model, buffers and inputs, and what it times."""
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.environment import Environment
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import CpuOptions, Options
    from ai_edge_litert.tools.benchmark_litert_model import fill_random_input

    options = Options(
        hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=1)
    )
    model = CompiledModel.from_file(str(file), environment=Environment.create(), options=options)
    key = next(iter(model.get_signature_list()))
    details = model.get_input_tensor_details(key)
    fed = {name: model.create_input_buffer_by_name(key, name) for name in details}
    got = {
        name: model.create_output_buffer_by_name(key, name)
        for name in model.get_output_tensor_details(key)
    }
    for name, buffer in fed.items():
        fill_random_input(buffer, details[name])
    return lambda: elapsed(lambda: model.run_by_name(key, fed, got))


def elapsed(infer: Callable[[], object]) -> int:
    begin = time.perf_counter_ns()
    infer()
    return time.perf_counter_ns() - begin


def one_process(file: Path, rounds: int, first: int) -> dict[str, list[int]]:
    """Take turns of one inference each, in an order that moves on by one every round.

    Where the allocator places weights changes latencies by a few percent, so ``first`` says which
    of the ways is made first, and the processes take turns in that too.
    """
    makers = {RUNNER: in_runner, LOOP: in_loop, TOOL: in_tool}
    order = [*makers][first:] + [*makers][:first]
    ways = {name: makers[name](file) for name in order}
    names = list(ways)
    found: dict[str, list[int]] = {name: [] for name in names}
    for index in range(WARMUP + rounds):
        for place in range(len(names)):
            name = names[(index + place) % len(names)]
            ns = ways[name]()
            if index >= WARMUP:
                found[name].append(ns)
    return found


def rows_of(name: str, file: Path, given: argparse.Namespace) -> list[list[str]]:
    command = [sys.executable, "-m", "benchmarks.litert_loops", "--file", str(file)]
    command += ["--rounds", str(given.rounds), "--core", str(given.core)]
    ways = (RUNNER, LOOP, TOOL)
    processes = []
    for index in range(given.processes):
        first = ["--first", str(index % len(ways))]
        done = subprocess.run([*command, *first], check=True, stdout=subprocess.PIPE)
        processes.append(json.loads(done.stdout))
    samples = {way: [process[way] for process in processes] for way in ways}
    return [
        [
            name,
            way,
            format_duration(statistics.level(found, Figure.LOW).value / 1e9),
            "–" if way == RUNNER else difference(samples[RUNNER], found, 10),
            format_duration(statistics.level(found, Figure.MEDIAN).value / 1e9),
            "–" if way == RUNNER else difference(samples[RUNNER], found, 50),
        ]
        for way, found in samples.items()
    ]


def difference(runner: Sequence[list[int]], other: Sequence[list[int]], percent: int) -> str:
    """How much longer the runner's inference takes, with the interval over the processes."""
    sides = ([[round(np.percentile(ns, percent))] for ns in side] for side in (runner, other))
    ratio = statistics.ratio(*sides, paired=True)
    low, high = (100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return f"{100 * (ratio.value - 1):+.1f} % [{low:+.1f}, {high:+.1f}]"


def exported(name: str, size: int, folder: Path) -> list[Path]:
    import torch

    from benchmarks.arm_instructions import export_tflite, subject

    torch.set_num_threads(1)
    return list(export_tflite(subject(name, size, full=False), folder).values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=1000, help="inferences of each way")
    parser.add_argument("--core", type=int, default=0, help="the CPU that all of them run on")
    parser.add_argument("--file", type=Path, help="only measure this file and print the samples")
    parser.add_argument("--first", type=int, default=0, help="which way is made first, for --file")
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    if given.file is not None:
        os.sched_setaffinity(0, [given.core])
        sys.stdout.write(json.dumps(one_process(given.file, given.rounds, given.first)))
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        for name, size in NETWORKS.items():
            for file in exported(name, size, Path(folder)):
                sys.stderr.write(f"{file.name}\n")
                rows += rows_of(f"{file.stem} {size}x{size}", file, given)
    head = [
        "file",
        "measured by",
        "p10",
        "runner's is longer by",
        "median",
        "runner's is longer by",
    ]
    lines = [
        "# The runner beside LiteRT's own loops",
        "",
        machine("ai-edge-litert", "edgeconv"),
        f"One thread on one core; {given.processes} processes of {given.rounds} rounds each, where",
        "all take turns of one inference; differences have 95 % intervals over the processes,",
        "which take turns in what is loaded first.",
        "`benchmark_litert_model` is the tool in the wheel of ai-edge-litert and runs LiteRT's",
        "CompiledModel; runner and loop run its Interpreter. The script is",
        "`benchmarks/litert_loops.py`.",
        "",
        *markdown_table(head, rows),
    ]
    publish("litert_loops", lines)


if __name__ == "__main__":
    main()
