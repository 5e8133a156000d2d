"""Compare the latency that a sweep expects of early exits with that of chains as they run.

    .venv/bin/python -m benchmarks.early_exits

A sweep trains nothing and runs no chain: it measures every stage by itself and finds thresholds
on half of the data. The chains that it found then run here, stage after stage with the decision of
each exit, on the other half.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.bundle import Format
from edgeconv.student import student
from edgeconv.sweep.chain_row import ChainRow
from edgeconv.sweep.confidence import Confidence
from edgeconv.units import format_duration, format_percent

NAME = "mobilenet_v2_early_exit"
SIZE = 64
PLAN = f"""
[[model]]
name = "{NAME}"
weights = "trained.safetensors"
args = {{ num_classes = 10, in_channels = 1, width_mult = 0.35, input_size = {SIZE}, \
stage = [0, 1, 2] }}

[export]
precisions = ["float32", "int8"]
calibration = "train.npz"

[evaluate]
data = "test.npz"

[early_exit]
points = 8

[measure]
devices = ["local"]
repetitions = 5
seconds = 0.5
"""
PROCESSES = 5  # each runs a chain on all samples
TURNS = 3  # of which the median of each sample counts
ALONE = 200  # runs of a stage by itself, of which the median counts

Array = npt.NDArray[np.float32]
Stage = Callable[[Array], tuple[float, Array, Array]]


@dataclass(frozen=True)
class Run:
    """What one process found.

    Attributes:
        stages: Mean seconds of a sample in the stages that it ran.
        whole: The same with all that is between the stages: softmax, decision, copies.
        alone: Median seconds of every stage that runs again and again on one sample.
        right: The share of samples whose class is right.
        ran: The share of samples that ran each stage.
    """

    stages: float
    whole: float
    alone: list[float]
    right: float
    ran: list[float]

    @property
    def expected(self) -> float:
        """What a sample takes by the stages alone, in the same process."""
        return float(np.dot(self.ran, self.alone))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--row", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row is not None:
        row = ChainRow.model_validate_json(given.row.read_text("utf-8"))
        sys.stdout.write(json.dumps(asdict(run_in_order(row, given.data))))
        return
    from edgeconv.sweep.cache import Cache
    from edgeconv.sweep.plan import read_plan
    from edgeconv.sweep.run import sweep

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, given.epochs)
        chains = sweep(read_plan(folder / "plan.toml"), Cache(folder / "cache"), workers=0).chains
        if failures := [why for row in chains for why in row.failures]:
            raise SystemExit("\n".join(failures))
        rows = chosen(chains)
        publish("early_exits", report(rows, [measured(row, folder) for row in rows], given.epochs))


def prepare(folder: Path, epochs: int) -> None:
    """Train the network, and write its weights, the data and the plan."""
    import torch
    from safetensors.torch import save_file
    from torch.nn import functional

    from edgeconv import models
    from examples.digits_data import load

    torch.manual_seed(0)
    train, test = load(SIZE)
    train.save(folder / "train.npz")
    test.save(folder / "test.npz")
    (folder / "plan.toml").write_text(PLAN, "utf-8")
    network = models.create_model(NAME, num_classes=10, in_channels=1, width_mult=0.35).train()
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    optimizer = torch.optim.AdamW(network.parameters())
    steps = len(x) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps * epochs)
    for _ in range(epochs):
        for part in torch.randperm(len(x))[: steps * 64].split(64):
            optimizer.zero_grad()
            losses = [functional.cross_entropy(logits, y[part]) for logits in network(x[part])]
            torch.stack(losses).sum().backward()
            optimizer.step()
            schedule.step()
    save_file(network.state_dict(), folder / "trained.safetensors")


def chosen(rows: Sequence[ChainRow]) -> list[ChainRow]:
    """Of each kind of files the cheapest row, one in the middle and the dearest."""
    kinds: dict[tuple[str, Format | None], list[ChainRow]] = {}
    for row in sorted(rows, key=lambda row: row.cost or 0.0):
        kinds.setdefault((row.network.precision.value, row.format), []).append(row)
    return [each[i] for each in kinds.values() for i in sorted({0, len(each) // 2, len(each) - 1})]


def measured(row: ChainRow, folder: Path) -> list[Run]:
    """What several processes find that run a chain in order."""
    path = folder / "row.json"
    path.write_text(row.model_dump_json(), "utf-8")
    command = [sys.executable, "-m", "benchmarks.early_exits", "--row", str(path)]
    command += ["--data", str(folder / "test.npz")]
    return [
        Run(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        for _ in range(PROCESSES)
    ]


def run_in_order(row: ChainRow, data: Path) -> Run:
    """Run a chain on the samples that no threshold was found on, as a device does."""
    assert row.confidence is Confidence.PROBABILITY
    stored = np.load(data)
    stages = [opened(stage.bundle / stage.file, row.format) for stage in row.stages]
    images, labels = stored["x"][1::2, None], stored["y"][1::2]
    if row.format is Format.TFLITE:
        images = images.transpose(0, 1, 3, 4, 2)
    alone = []
    x = images[0]
    for stage in stages:
        times = [stage(x)[0] for _ in range(ALONE)]
        alone.append(float(np.median(times)))
        x = stage(x)[1]
    in_stages, whole, right, ran = [], [], 0, np.zeros(len(stages))
    for image, label in zip(images, labels, strict=True):
        turns = []
        for _ in range(TURNS):
            start = time.perf_counter()
            seconds, count, x = 0.0, 0, image
            for stage, threshold in zip(stages, (*row.thresholds, 0.0), strict=True):
                took, x, logits = stage(x)
                seconds, count = seconds + took, count + 1
                odds = np.exp(logits.astype(np.float64) - logits.max())
                if threshold is not None and odds.max() / odds.sum() >= threshold:
                    break
            turns.append((seconds, time.perf_counter() - start))
        medians = np.median(turns, axis=0)
        in_stages.append(medians[0])
        whole.append(medians[1])
        ran[:count] += 1
        right += int(logits.argmax() == label)
    total = len(labels)
    return Run(
        float(np.mean(in_stages)),
        float(np.mean(whole)),
        alone,
        right / total,
        [float(share) for share in ran / total],
    )


def opened(path: Path, format: Format | None) -> Stage:
    """A stage on its runtime, in one thread: from its input to seconds, features and logits."""
    return _opened_onnx(path) if format is Format.ONNX else _opened_tflite(path)


def _opened_onnx(path: Path) -> Stage:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Array) -> tuple[float, Array, Array]:
        start = time.perf_counter()
        outputs = session.run(None, {name: x})
        return time.perf_counter() - start, *divided(outputs)

    return run


def _opened_tflite(path: Path) -> Stage:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    reads = interpreter.get_input_details()[0]["index"]
    gives = [output["index"] for output in interpreter.get_output_details()]

    def run(x: Array) -> tuple[float, Array, Array]:
        interpreter.set_tensor(reads, x)
        start = time.perf_counter()
        interpreter.invoke()
        seconds = time.perf_counter() - start
        return seconds, *divided([interpreter.get_tensor(index) for index in gives])

    return run


def divided(outputs: Sequence[Array]) -> tuple[Array, Array]:
    """The features, and the logits of the one sample; the last stage has no features."""
    (logits,) = [each for each in outputs if each.ndim == 2]
    return next((each for each in outputs if each.ndim == 4), logits), logits[0]


def report(rows: Sequence[ChainRow], found: Sequence[Sequence[Run]], epochs: int) -> list[str]:
    samples = {row.accuracy.samples for row in rows if row.accuracy}
    return [
        "# Early exits: expected and measured latency",
        "",
        f"`{NAME}` (width 0.35, {SIZE} pixels, {epochs} epochs on 1347 digits). A sweep finds",
        "thresholds on every other held-out digit, and expects the latency of the others from",
        "those of the stages, each measured by itself. Then the files run in order, sample by",
        f"sample, on these {samples.pop()}: {PROCESSES} processes, the median of {TURNS} turns of",
        "each sample, the mean over samples. Both have 95% intervals; they agree if these overlap.",
        "`by stages alone` is what is expected from the stages by themselves in the processes that",
        "run the chain, so at the same time; `with all between` adds the softmax, the decision and",
        "the copies between stages, in Python. That accuracy and shares are those of the sweep is",
        "checked for equality.",
        machine("edgeconv", "torch", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(
            [
                "files",
                "exits",
                "top-1",
                "as in the sweep",
                "expected",
                "measured",
                "difference",
                "agree",
                "by stages alone",
                "with all between",
            ],
            [_cells(row, runs) for row, runs in zip(rows, found, strict=True)],
        ),
    ]


def _cells(row: ChainRow, runs: Sequence[Run]) -> list[str]:
    assert row.latency_ns is not None
    assert row.accuracy is not None
    assert row.format is not None
    seconds = np.array([run.stages for run in runs])
    half = student(0.95, len(seconds) - 1) * seconds.std(ddof=1) / np.sqrt(len(seconds))
    mean, low, high = (
        ns / 1e9 for ns in (row.latency_ns.value, row.latency_ns.low, row.latency_ns.high)
    )
    took, below, above = (float(seconds.mean() + sign * half) for sign in (0, -1, 1))
    ran = [sum(row.shares[stage:]) for stage in range(len(row.shares))]
    same = all(
        np.isclose(run.right, row.accuracy.value) and np.allclose(run.ran, ran) for run in runs
    )
    return [
        f"{row.network.precision.value} {row.format.value}",
        " / ".join(format_percent(share, places=0) for share in row.shares),
        format_percent(row.accuracy.value, places=2),
        "yes" if same else "no",
        format_duration(mean, interval=(low, high)),
        format_duration(took, interval=(below, above)),
        f"{100 * (took / mean - 1):+.1f}%",
        "yes" if low <= above and below <= high else "no",
        format_duration(float(np.mean([run.expected for run in runs]))),
        format_duration(float(np.mean([run.whole for run in runs]))),
    ]


if __name__ == "__main__":
    main()
