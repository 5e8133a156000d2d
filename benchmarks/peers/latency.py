"""Measure the latency of edgeconv's TFLite files and a peer's in turns under one LiteRT.

    .venv/bin/python -m benchmarks.peers.latency NETWORKS --ours OURS --theirs THEIRS --cache CACHE

``export_edgeconv.py`` and ``export_litert_torch.py`` write the folders OURS and THEIRS. Every pair
of files has its own session: ours and theirs run in fresh processes in the order A B B A. CACHE
keeps what was measured, so the run can be interrupted; remove a file there to measure it again.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.peers.exporting import read_record
from benchmarks.peers.subjects import read_subjects
from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.result import Interval
from edgeconv.bundle import sha256_of
from edgeconv.device import open_device
from edgeconv.errors import EdgeconvError
from edgeconv.units import format_duration, significant

PRECISIONS = ("float32", "int8")
GOAL = 1.0  # the highest ratio of ours to theirs


@dataclass(frozen=True)
class Pair:
    """One network in one precision: the measurement, or the reason why there is none."""

    network: str
    precision: str
    result: BenchResult | None
    failure: str | None = None

    @property
    def ratio(self) -> Interval | None:
        """Our latency divided by theirs; the processes of a session are paired."""
        return None if self.result is None else self.result.speedup(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", type=Path, help="folder with networks.json")
    parser.add_argument("--ours", type=Path, required=True)
    parser.add_argument("--theirs", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--repetitions", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each process")
    parser.add_argument("--name", default="peers_latency", help="name of the result's file")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    options = BenchOptions(repetitions=arguments.repetitions, seconds=arguments.seconds, runs=10)
    pairs = []
    for subject in read_subjects(arguments.networks):
        if arguments.only is not None and subject.name not in arguments.only:
            continue
        for precision in PRECISIONS:
            folders = (arguments.ours, arguments.theirs)
            pair = measured(subject.name, precision, folders, arguments.cache, options)
            sys.stdout.write(f"{subject.name} {precision}: {pair.failure or _ratio(pair.ratio)}\n")
            sys.stdout.flush()
            pairs.append(pair)
    peer = read_record(arguments.theirs, pairs[0].network)
    publish(arguments.name, report(pairs, "" if peer is None else peer.tool, options))


def measured(
    network: str, precision: str, folders: Sequence[Path], cache: Path, options: BenchOptions
) -> Pair:
    """Measure ours (folder 0) and theirs (folder 1), unless the cache has exactly these files."""
    files = []
    for folder, side in zip(folders, ("ours", "theirs"), strict=True):
        record = read_record(folder, network)
        if record is None:
            return Pair(network, precision, None, f"{side} was not exported")
        file = record.file(folder, precision)
        if file is None:
            why = record.outcomes[precision].failure
            return Pair(network, precision, None, f"{side} was not exported: {why}")
        files.append(file)
    path = cache / f"{network}_{precision}.json"
    if path.is_file():
        known = BenchResult.load(path)
        same = [model.file.sha256 for model in known.models] == [sha256_of(f) for f in files]
        if same and known.options == options:
            return Pair(network, precision, known)
    try:
        result = measure(files, options, open_device("local"))
    except EdgeconvError as error:
        return Pair(network, precision, None, str(error))
    result.save(path)
    return Pair(network, precision, result)


def report(pairs: Sequence[Pair], peer: str, options: BenchOptions) -> list[str]:
    return [
        "# Latency under LiteRT, edgeconv against litert-torch with ai-edge-quantizer",
        "",
        "The networks are untrained ones of the zoo at their own sizes, batch 1, one thread.",
        f"Latencies are medians of {options.repetitions} processes per file, of "
        f"{options.seconds:g} s each, ours",
        "and theirs in turns. The ratio is our latency divided by theirs, with its 95 %",
        "interval. Inputs and outputs have each tool's defaults: NHWC and float32 in our files;",
        "NCHW in theirs, and int8 in the int8 file. The goal is a ratio of at most 1.00.",
        f"{peer}. {machine('edgeconv', 'torch', 'ai-edge-litert')}",
        "",
        *_summary(pairs),
        "",
        *markdown_table(
            ["network", "precision", "ours", "theirs", "ratio", "ratio of bytes"],
            [_row(pair) for pair in pairs],
        ),
    ]


def _summary(pairs: Sequence[Pair]) -> list[str]:
    """Summarize each precision: the geometric mean, the worst, and how many miss the goal."""
    lines = []
    for precision in PRECISIONS:
        found = [
            (pair.ratio, pair.network)
            for pair in pairs
            if pair.precision == precision and pair.ratio is not None
        ]
        if not found:
            continue
        mean = math.exp(sum(math.log(ratio.value) for ratio, _ in found) / len(found))
        worst, where = max(found, key=lambda one: one[0].value)
        slower = sum(ratio.low > GOAL for ratio, _ in found)
        lines.append(
            f"- {precision}: {len(found)} networks, geometric mean {mean:.3f}, worst "
            f"{worst.value:.3f} ({where}), {slower} significantly slower."
        )
    return lines


def _row(pair: Pair) -> list[str]:
    if pair.result is None:
        return [pair.network, pair.precision, "", "", pair.failure or "", ""]
    ours, theirs = pair.result.models
    medians = [format_duration(m.summary.median.value / 1e9) for m in (ours, theirs)]
    sizes = significant(ours.file.bytes / theirs.file.bytes)
    return [pair.network, pair.precision, *medians, _ratio(pair.ratio), sizes]


def _ratio(ratio: Interval | None) -> str:
    return "" if ratio is None else f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


if __name__ == "__main__":
    main()
