"""The loop that every exporter shares: a process a network, a record a network, resumable.

What a tool does with a network is a list of steps, each of which writes one file. A step that
fails is recorded with the first line of its error and does not stop the next network; nor does
one that takes the process down.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.peers.subjects import Subject, read_subjects

LIMIT_SECONDS = 1800  # for one network; more is a failure
DIED = "the process died or took too long"

# Gets the network and the folder for its files, and returns the file that it wrote.
Step = Callable[[Subject, Path], Path]


@dataclass(frozen=True)
class Outcome:
    """One step: the file it wrote, relative to the folder, or the first line of its error.
    ``seconds`` is wall time, the tool's import excluded."""

    file: str | None = None
    seconds: float | None = None
    failure: str | None = None


@dataclass
class Record:
    """What became of one network under one tool."""

    name: str
    tool: str
    complete: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        path = record_path(folder, self.name)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    def file(self, folder: Path, step: str) -> Path | None:
        """The file that a step wrote, or None if it failed."""
        name = self.outcomes[step].file
        return None if name is None else folder / name


def record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def read_record(folder: Path, name: str) -> Record | None:
    """The record of a network; None if it was not tried."""
    path = record_path(folder, name)
    if not path.is_file():
        return None
    entry = json.loads(path.read_text(encoding="utf-8"))
    outcomes = {step: Outcome(**outcome) for step, outcome in entry.pop("outcomes").items()}
    return Record(**entry, outcomes=outcomes)


def run_exporter(module: str, tool: str, steps: Mapping[str, Step]) -> None:
    """The command line of an exporter.

    Args:
        module: its dotted name, to start the process of each network.
        tool: names and versions, for the record.
        steps: by the names under which files are asked for later, in order.
    """
    parser = argparse.ArgumentParser(description=f"Export networks with {tool}.")
    parser.add_argument("networks", type=Path, help="folder with networks.json")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--here", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    subjects = read_subjects(arguments.networks)
    if arguments.here is not None:
        subject = next(subject for subject in subjects if subject.name == arguments.here)
        export(subject, arguments.out, tool, steps)
        return
    for subject in subjects:
        if arguments.only is None or subject.name in arguments.only:
            _export_apart(module, subject, arguments.networks, arguments.out)


def _export_apart(module: str, subject: Subject, networks: Path, out: Path) -> None:
    """In a process of its own, unless a complete record is there. One that dies is not tried
    again; one that was interrupted together with this process is."""
    record = read_record(out, subject.name)
    if record is None or not record.complete:
        command = [sys.executable, "-m", module, str(networks), str(out), "--here", subject.name]
        log = out / f"{subject.name}.log"
        with log.open("wb") as stream, contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command, stdout=stream, stderr=stream, timeout=LIMIT_SECONDS, check=False
            )
        record = read_record(out, subject.name)
        if record is not None and not record.complete:
            record.complete = True
            record.save(out)
    sys.stdout.write(f"{subject.name}: {'no record' if record is None else summary(record)}\n")
    sys.stdout.flush()


def export(subject: Subject, out: Path, tool: str, steps: Mapping[str, Step]) -> Record:
    """Run the steps one after another, and keep the record up to date on disk."""
    record = Record(subject.name, tool)
    for name, step in steps.items():
        record.outcomes[name] = Outcome(failure=DIED)  # until something better is known
        record.save(out)
        start = time.perf_counter()
        try:
            file = step(subject, out)
            seconds = time.perf_counter() - start
            record.outcomes[name] = Outcome(str(file.relative_to(out)), seconds)
        except Exception as error:  # another tool's code: anything can come out of it
            record.outcomes[name] = Outcome(failure=first_line(error))
    record.complete = True
    record.save(out)
    return record


def first_line(error: BaseException) -> str:
    """ "KeyError: 'x'": the kind and the first line that says something."""
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def summary(record: Record) -> str:
    return ", ".join(
        f"{step} {outcome.failure}"
        if outcome.seconds is None
        else f"{step} {outcome.seconds:.1f} s"
        for step, outcome in record.outcomes.items()
    )
