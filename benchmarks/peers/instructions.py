"""Count Arm instructions of edgeconv's TFLite files and a peer's under one LiteRT.

    .venv/bin/python -m benchmarks.peers.instructions NETWORKS --ours OURS --theirs THEIRS \
        --cache CACHE.json

``export_edgeconv.py`` and ``export_litert_torch.py`` write the folders OURS and THEIRS. QEMU counts
(docs/emulated-pi.md), so the machine need not be quiet. CACHE keeps the counts by the SHA-256 of
the file, and a file that it knows is not counted again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from benchmarks.measuring import markdown_table, publish
from benchmarks.peers.exporting import read_record
from benchmarks.peers.subjects import read_subjects
from edgeconv.bundle import sha256_of
from edgeconv.device.emulated import Cpu, count_instructions
from edgeconv.device.messages import Runtime
from edgeconv.errors import EdgeconvError
from edgeconv.units import significant

CPUS = {Cpu.A72: "A72", Cpu.A76: "A76"}
PRECISIONS = ("float32", "int8")
SIDES = ("ours", "theirs")


@dataclass
class Counts:
    """Keeps totals, or the reason why there is none, by SHA-256 and CPU in a file."""

    path: Path
    known: dict[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.is_file():
            self.known = json.loads(self.path.read_text(encoding="utf-8"))

    def take(self, file: Path, cpu: Cpu) -> int | str:
        """Count a file, unless it was counted before."""
        key = f"{sha256_of(file)}/{cpu.value}"
        if key not in self.known:
            try:
                self.known[key] = count_instructions(file, cpu, Runtime.LITERT).total
            except EdgeconvError as error:
                self.known[key] = str(error)
        return self.known[key]

    def save(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.known, indent=1), encoding="utf-8")
        part.replace(self.path)


@dataclass(frozen=True)
class Pair:
    """One network in one precision.

    ``counts`` lacks a file that was not made, and has the error of one that does not run.
    """

    network: str
    precision: str
    counts: dict[tuple[Cpu, str], int | str]

    def ratio(self, cpu: Cpu) -> float | None:
        """Divide our count by theirs; None if one is missing."""
        ours, theirs = (self.counts.get((cpu, side)) for side in SIDES)
        if not isinstance(ours, int) or not isinstance(theirs, int):
            return None
        return ours / theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", type=Path, help="folder with networks.json")
    parser.add_argument("--ours", type=Path, required=True)
    parser.add_argument("--theirs", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="counts at the same time")
    arguments = parser.parse_args()
    counts = Counts(arguments.cache)
    pairs = []
    for subject in read_subjects(arguments.networks):
        if arguments.only is not None and subject.name not in arguments.only:
            continue
        for precision in PRECISIONS:
            folders = dict(zip(SIDES, (arguments.ours, arguments.theirs), strict=True))
            pair = counted(subject.name, precision, folders, counts, arguments.jobs)
            sys.stdout.write(" ".join([pair.network, precision, *_ratios(pair)]) + "\n")
            sys.stdout.flush()
            pairs.append(pair)
    if arguments.only is None:
        peer = read_record(arguments.theirs, pairs[0].network)
        publish("peers_instructions", report(pairs, "" if peer is None else peer.tool))


def counted(
    network: str, precision: str, folders: dict[str, Path], counts: Counts, jobs: int
) -> Pair:
    """Count both files of a network on all CPUs."""
    files = {}
    for side, folder in folders.items():
        record = read_record(folder, network)
        file = None if record is None else record.file(folder, precision)
        if file is not None:
            files[side] = file
    places = list(product(CPUS, files))
    with ThreadPoolExecutor(jobs) as pool:
        totals = list(pool.map(lambda place: counts.take(files[place[1]], place[0]), places))
    counts.save()
    return Pair(network, precision, dict(zip(places, totals, strict=True)))


def report(pairs: Sequence[Pair], peer: str) -> list[str]:
    return [
        "# Arm instructions, edgeconv against litert-torch with ai-edge-quantizer",
        "",
        "Million instructions of one inference under LiteRT on one thread, on emulated Cortex-A72",
        "(Pi 4) and Cortex-A76 (Pi 5). A count is the same on every machine; it is not a time. The",
        "networks are untrained ones of the zoo at their own sizes, batch 1. The ratio is our",
        "count divided by theirs. The goal is at most 1.00; from 1.001 on a ratio is above it.",
        f"{peer}.",
        "",
        *_summary(pairs),
        "",
        *markdown_table(
            ["network", "precision"]
            + [f"{name} {word}" for name in CPUS.values() for word in (*SIDES, "ratio")],
            [_row(pair) for pair in pairs],
        ),
        *_failures(pairs),
    ]


def _summary(pairs: Sequence[Pair]) -> Iterator[str]:
    """Summarize each precision and CPU: geometric mean, worst, and how many miss the goal."""
    for precision, (cpu, name) in product(PRECISIONS, CPUS.items()):
        found = [
            (ratio, pair.network)
            for pair in pairs
            if pair.precision == precision and (ratio := pair.ratio(cpu)) is not None
        ]
        if not found:
            continue
        mean = math.exp(sum(math.log(ratio) for ratio, _ in found) / len(found))
        worst, where = max(found)
        above = sum(round(ratio, 3) > 1 for ratio, _ in found)
        yield (
            f"- {precision} on {name}: {len(found)} networks, geometric mean {mean:.3f}, "
            f"worst {worst:.3f} ({where}), {above} above 1."
        )


def _row(pair: Pair) -> list[str]:
    cells = [pair.network, pair.precision]
    for cpu, ratio in zip(CPUS, _ratios(pair), strict=True):
        totals = (pair.counts.get((cpu, side)) for side in SIDES)
        cells += [significant(n / 1e6) if isinstance(n, int) else "-" for n in totals]
        cells.append(ratio)
    return cells


def _ratios(pair: Pair) -> list[str]:
    found = (pair.ratio(cpu) for cpu in CPUS)
    return ["-" if ratio is None else f"{ratio:.3f}" for ratio in found]


def _failures(pairs: Sequence[Pair]) -> Iterator[str]:
    for pair in pairs:
        for (cpu, side), total in pair.counts.items():
            if isinstance(total, str):
                yield f"- {pair.network} {pair.precision}, {side} on {CPUS[cpu]}: {total}"


if __name__ == "__main__":
    main()
