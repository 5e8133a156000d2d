"""Compare the int8 accuracy of edgeconv and its peers.

All tools get the same weights, calibration inputs and held-out inputs:

    .venv/bin/python -m benchmarks.quantization.compare NETWORKS --ours OURS --litert LITERT \
        --onnxruntime ORT --cache CACHE

The exporters of ``benchmarks/peers`` write the folders OURS, LITERT and ORT.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.peers.exporting import read_record
from benchmarks.peers.subjects import Subject, read_subjects
from benchmarks.quantization.score import HeldOut, Score, float_top1, score
from edgeconv.bundle import sha256_of
from edgeconv.units import format_percent

HELD_OUT = 512  # samples at most
OURS = "edgeconv"


@dataclass(frozen=True)
class Column:
    """One int8 file per network: the folder of an exporter, and the step that wrote the file."""

    title: str
    folder: Path
    step: str

    @property
    def is_ours(self) -> bool:
        return self.title.startswith(OURS)


@dataclass(frozen=True)
class Row:
    """The scores of one network and the first lines of its failures, by the column's title."""

    network: str
    float_top1: float | None
    scores: dict[str, Score]
    failures: dict[str, str]

    def best_peer(self) -> float | None:
        """Return the highest SQNR in dB among the files of other tools."""
        return max(
            (s.sqnr_db for t, s in self.scores.items() if not t.startswith(OURS)), default=None
        )

    def margin(self) -> float | None:
        """Subtract the best peer's SQNR from that of our TFLite file, in dB."""
        best, ours = self.best_peer(), self.scores.get(f"{OURS} TFLite")
        return None if best is None or ours is None else ours.sqnr_db - best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", type=Path, help="folder with networks.json")
    parser.add_argument("--ours", type=Path, required=True)
    parser.add_argument("--litert", type=Path, required=True)
    parser.add_argument("--onnxruntime", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--title", default="untrained networks of the zoo")
    parser.add_argument("--name", default="quantization", help="name of the result's file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = [
        Column(f"{OURS} TFLite", arguments.ours, "int8"),
        Column(f"{OURS} ONNX", arguments.ours, "int8_onnx"),
        Column("ai-edge-quantizer", arguments.litert, "int8"),
        Column("ai-edge-quantizer, min-max", arguments.litert, "int8_minmax"),
        Column("onnxruntime", arguments.onnxruntime, "int8"),
    ]
    rows = []
    for subject in read_subjects(arguments.networks):
        if arguments.only is None or subject.name in arguments.only:
            rows.append(compare(subject, columns, arguments.cache))
            sys.stdout.write(" | ".join(_cells(rows[-1], columns)) + "\n")
            sys.stdout.flush()
    publish(arguments.name, report(rows, columns, arguments.title))


def compare(subject: Subject, columns: Sequence[Column], cache: Path) -> Row:
    """Score the files of one network, except those that the cache knows."""
    cached = _Cache(cache / f"{subject.name}.json")
    held_out: HeldOut | None = None
    scores: dict[str, Score] = {}
    failures: dict[str, str] = {}
    for column in columns:
        record = read_record(column.folder, subject.name)
        outcome = None if record is None else record.outcomes.get(column.step)
        if outcome is None or outcome.file is None:
            failures[column.title] = "not exported" if outcome is None else str(outcome.failure)
            continue
        file = column.folder / outcome.file
        digest = sha256_of(file)
        if digest not in cached.scores:
            held_out = held_out or HeldOut.of(subject, HELD_OUT)
            cached.float_top1 = float_top1(held_out)
            try:
                cached.scores[digest] = score(file, held_out)
            except Exception as error:  # the runtime refuses the file
                failures[column.title] = str(error).splitlines()[0]
                continue
            cached.save()
        scores[column.title] = cached.scores[digest]
    return Row(subject.name, cached.float_top1, scores, failures)


class _Cache:
    """Keeps the scores of one network's files on disk, by the hash of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.float_top1: float | None = None
        self.scores: dict[str, Score] = {}
        if path.is_file():
            entry = json.loads(path.read_text(encoding="utf-8"))
            self.float_top1 = entry["float_top1"]
            self.scores = {digest: Score(**one) for digest, one in entry["scores"].items()}

    def save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scores = {digest: asdict(one) for digest, one in self.scores.items()}
        text = json.dumps({"float_top1": self.float_top1, "scores": scores}, indent=1)
        self._path.write_text(text + "\n", encoding="utf-8")


def report(rows: Sequence[Row], columns: Sequence[Column], title: str) -> list[str]:
    failed = [
        f"- {row.network}, {where}: {failure}"
        for row in rows
        for where, failure in row.failures.items()
    ]
    header = ["network", *(column.title for column in columns), "to the best peer"]
    return [
        f"# int8 accuracy side by side: {title}",
        "",
        "A cell has the SQNR in dB on held-out inputs against PyTorch's float32, for the worst",
        "output of a network; networks that were trained on classes have the top-1 in parentheses.",
        "All tools had the same weights, calibration inputs and their own defaults; `min-max` is",
        "ai-edge-quantizer without its moving average. The last column is our TFLite file's SQNR",
        "minus that of the best peer's file. The goal: at least 1 dB on average, and no network",
        "below -0.1 dB.",
        f"{_tools(rows, columns)} " + machine("ai-edge-litert"),
        "",
        *_summary(rows),
        "",
        *markdown_table(header, [_cells(row, columns) for row in rows]),
        *(["", "Failures:", "", *failed] if failed else []),
    ]


def _tools(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Name the tools that wrote the files, as the records of the first network state them."""
    records = (read_record(column.folder, rows[0].network) for column in columns)
    return "; ".join(dict.fromkeys(record.tool for record in records if record is not None)) + "."


def _summary(rows: Sequence[Row]) -> list[str]:
    margins = {row.network: margin for row in rows if (margin := row.margin()) is not None}
    if not margins:
        return ["No network has both a file of ours and one of a peer."]
    below = sum(margin < -0.1 for margin in margins.values())
    worst = min(margins, key=lambda name: margins[name])
    return [
        f"{len(margins)} networks: {statistics.fmean(margins.values()):+.2f} dB to the best peer "
        f"on average, worst {margins[worst]:+.2f} dB ({worst}), {below} below by more than 0.1 dB."
    ]


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    cells = [row.network if row.float_top1 is None else f"{row.network} ({_top1(row.float_top1)})"]
    for column in columns:
        one = row.scores.get(column.title)
        cells.append("–" if one is None else f"{one.sqnr_db:.1f}{_behind(one)}")
    margin = row.margin()
    return [*cells, "" if margin is None else f"{margin:+.2f}"]


def _behind(one: Score) -> str:
    return "" if one.top1 is None else f" ({_top1(one.top1)})"


def _top1(share: float) -> str:
    return format_percent(share, places=1)


if __name__ == "__main__":
    main()
