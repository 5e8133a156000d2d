"""The loop that every exporter shares: one process and one record per network, resumable.

What a tool does with a network is a list of steps, each of which writes one file. A step that fails
is recorded with the first line of its error. Neither a failing step nor one that ends the process
stops the next network.
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

LIMIT_SECONDS = 1800  # per network; more is a failure
DIED = "the process died or took too long"

# Takes the network and the folder for its files, and returns the file that it wrote.
Step = Callable[[Subject, Path], Path]


@dataclass(frozen=True)
class Outcome:
    """The result of one step: the file it wrote, relative to the folder, or its error's first line.

    ``seconds`` is wall time without the tool's import.
    """

    file: str | None = None
    seconds: float | None = None
    failure: str | None = None


@dataclass
class Record:
    """The results of one network under one tool."""

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
        """Return the file that a step wrote, or None if the step failed."""
        name = self.outcomes[step].file
        return None if name is None else folder / name


def record_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def read_record(folder: Path, name: str) -> Record | None:
    """Read the record of a network; None if the tool did not try it."""
    path = record_path(folder, name)
    if not path.is_file():
        return None
    entry = json.loads(path.read_text(encoding="utf-8"))
    outcomes = {step: Outcome(**outcome) for step, outcome in entry.pop("outcomes").items()}
    return Record(**entry, outcomes=outcomes)


def run_exporter(module: str, tool: str, steps: Mapping[str, Step]) -> None:
    """Run the command line of an exporter.

    Args:
        module: The exporter's dotted name, to start the process of each network.
        tool: Names and versions of the tool, for the record.
        steps: The steps in order, by the names under which their files are found later.
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
    """Export a network in a process of its own, unless it has a complete record.

    A network whose process died is not tried again. One that was interrupted together with this
    process is.
    """
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
        record.outcomes[name] = Outcome(failure=DIED)  # stands if the process dies now
        record.save(out)
        start = time.perf_counter()
        try:
            file = step(subject, out)
            seconds = time.perf_counter() - start
            record.outcomes[name] = Outcome(str(file.relative_to(out)), seconds)
        except Exception as error:  # another tool's code can raise anything
            record.outcomes[name] = Outcome(failure=first_line(error))
    record.complete = True
    record.save(out)
    return record


def first_line(error: BaseException) -> str:
    """Format an error's kind and first line that is not blank, as in "KeyError: 'x'"."""
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def summary(record: Record) -> str:
    return ", ".join(
        f"{step} {outcome.failure}"
        if outcome.seconds is None
        else f"{step} {outcome.seconds:.1f} s"
        for step, outcome in record.outcomes.items()
    )
