"""Check on this machine's own noise how often comparisons give a false alarm or miss a change.

    .venv/bin/python -m benchmarks.recorded_noise [RESULT.json] [--pairs 40]

The script measures one network under two names in turns, as `edgeconv bench` does; or RESULT is the
result of such a session with two equal files. A trial draws some of the recorded pairs of processes
and swaps the two of each pair at random, so the two sides differ only by noise. At most 5 % of
these A/A trials should give an alarm. When every sample of one side is made 3 % longer, at least
90 % of the trials should find that, where the machine is quiet enough. Commands judge by two
figures, the medians and the 10th percentiles of the processes; the medians alone stand beside them.
A drift of up to 10 % from the first process to the last, like that of a board that heats up, is
added to the recorded samples.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.statistics import Estimate, compare, ratio
from edgeconv.bundle import Format, Precision
from edgeconv.device import open_device
from edgeconv.units import format_percent

TRIALS = 500
PROCESSES = (8, 12, 16)  # repetitions of a session
SLOWDOWN = 1.03
Samples = list[list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=40, help="processes of each name to record")
    given = parser.parse_args()
    result = BenchResult.load(given.result) if given.result else recorded(given.pairs)
    rows = []
    for drift, processes in product((0.0, 0.1), PROCESSES):
        a, b = (drifted(result, index, drift) for index in (0, 1))
        rows.append(
            [
                format_percent(drift, places=0),
                str(processes),
                *map(format_percent, shares(a, b, 1.0, processes)),
                *map(format_percent, shares(a, b, SLOWDOWN, processes)),
            ]
        )
    columns = (
        *("drift", "repetitions", "false alarms (A/A)", "by medians alone"),
        *("3 % slow-downs found", "by medians alone"),
    )
    pairs = len(result.models[0].processes)
    title = "# Comparisons on recorded noise"
    note = f"Each row has {TRIALS} trials, drawn from {pairs} recorded pairs of processes."
    table = markdown_table(columns, rows)
    publish("recorded_noise", [title, "", machine("edgeconv"), "", note, "", *table])


def recorded(pairs: int) -> BenchResult:
    """Measure a session of one small network under two names."""
    from edgeconv.export import export

    options = BenchOptions(repetitions=pairs, runs=100, seconds=0.5, warmup=0.2, retries=0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        formats, precisions = [Format.TFLITE], [Precision.FLOAT32]
        bundle = export(
            "mobilenet_v2", out=folder / "bundle", formats=formats, precisions=precisions
        )
        names = [folder / "a.tflite", folder / "b.tflite"]
        for name in names:
            shutil.copy(bundle.file(bundle.manifest.artifacts[0]), name)
        return measure(names, options, open_device("local"))


def drifted(result: BenchResult, model: int, drift: float) -> Samples:
    """Stretch the samples of each process in proportion to its place in the session."""
    runs = result.models[model].processes
    last = max(run.order for m in result.models for run in m.processes)
    return [[round(ns * (1 + drift * run.order / last)) for ns in run.samples_ns] for run in runs]


def shares(a: Samples, b: Samples, slowdown: float, processes: int) -> tuple[float, float]:
    """Return the share of the trials that show a difference: as commands judge, and by medians.

    With a slow-down the interval must lie on its side.
    """
    random = np.random.default_rng(1)
    slow_a, slow_b = ([[round(ns * slowdown) for ns in p] for p in side] for side in (a, b))
    found = alone = 0
    for _ in range(TRIALS):
        drawn = random.choice(len(a), size=processes, replace=False)
        swapped = random.random(processes) < 0.5
        left = [b[i] if swap else a[i] for i, swap in zip(drawn, swapped, strict=True)]
        right = [slow_a[i] if swap else slow_b[i] for i, swap in zip(drawn, swapped, strict=True)]
        change = compare(right, left, paired=True)
        judged = change.of(change.judged_by)
        found += shows(judged, slowdown) and not change.contradictory
        alone += shows(ratio(right, left, paired=True), slowdown)
    return found / TRIALS, alone / TRIALS


def shows(change: Estimate, slowdown: float) -> bool:
    return change.low > 1.0 if slowdown > 1.0 else not change.covers_one


if __name__ == "__main__":
    main()
