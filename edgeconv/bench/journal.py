"""What a session has measured so far, on disk: it survives the session.

One JSON object per line: what the session is, then every process as it ends. A line is on the disk
before the next process starts, so a failure costs at most the process that was running.
"""

from __future__ import annotations

import os
from datetime import datetime
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from edgeconv.bench.result import BenchOptions, ModelFile, ProcessRun, SetAside
from edgeconv.device.messages import Machine, Steps
from edgeconv.errors import EdgeconvError, UsageError, room_hint
from edgeconv.versioned import Record, StoredPath, Versioned, first_problem, read_document

SUFFIX = ".partial"
Side = Annotated[int, Field(ge=1, le=8192)]
Frame = tuple[Side, Side]  # width and height


class Kind(str, Enum):
    """The kinds of measurements that can be continued, as their results call themselves."""

    LATENCY = "latency"
    TOGETHER = "together"
    END_TO_END = "end-to-end"


class Measures(Record):
    """What a session measures of its files. ``frame`` is for those from a frame to the answer."""

    kind: Kind = Kind.LATENCY
    frame: Frame | None = None


LATENCY = Measures()


class Session(Versioned):
    """What is measured where.

    ``paths`` are the absolute paths of the files, ``out`` is the file that the result goes to.
    ``measures`` says what is measured of every file. ``optional`` are the indices of those that are
    left out if the device cannot run them.
    """

    WHAT = "an unfinished measurement of edgeconv bench"
    REDO = "measure again"
    ERROR = UsageError
    OLDER = (1, 2, 3)

    # 1 knew no states during a process, and no adaptive repetitions; 2 no sweep over threads; 3
    # latencies only.
    schema_version: int = 4
    kind: Literal["session"] = "session"
    edgeconv_version: str
    started: datetime
    device: str
    measures: Measures = LATENCY
    options: BenchOptions
    files: tuple[ModelFile, ...] = Field(min_length=1)
    paths: tuple[StoredPath, ...] = Field(min_length=1)
    inputs_sha256: str | None
    out: StoredPath | None
    optional: tuple[int, ...] = ()

    @property
    def rows(self) -> list[tuple[ModelFile, int]]:
        """What has processes, in the order that indices count.

        It is every file with each number of threads; for several models at once every file alone,
        and beside the others.
        """
        threads = self.options.sweep
        twice = self.measures.kind is Kind.TOGETHER
        return list(product(self.files, threads * 2 if twice else threads))


class Finished(Record):
    """One process of the schedule, complete; ``steps`` are those from a frame to the answer."""

    kind: Literal["process"] = "process"
    model: int = Field(ge=0)
    machine: Machine
    run: ProcessRun
    steps: Steps | None = None


Entry = Annotated[Finished | SetAside, Field(discriminator="kind")]
ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class Journal:
    """The processes of one session; with a path, also on disk."""

    def __init__(self, session: Session, path: Path | None = None) -> None:
        self.session = session
        self.path = path
        self.finished: list[Finished] = []
        self.set_aside: list[SetAside] = []
        self._cut = 0

    @property
    def has_processes(self) -> bool:
        """Whether any process has ended, be it one that was disturbed and is to be repeated."""
        return bool(self.finished) or len(self.set_aside) > self._cut

    @classmethod
    def create(cls, path: Path, session: Session) -> Journal:
        """Begin one on disk.

        Raises:
            UsageError: ``path`` has one already, or cannot be written.
        """
        journal, created = cls(session, path), False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8"):
                created = True
            journal._append(session)
        except BaseException as error:
            if created:
                journal.remove()
            elif isinstance(error, OSError):
                raise _not_created(path, error) from error
            raise
        return journal

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Read one from disk, to continue it. A last line that was cut is dropped.

        Raises:
            UsageError: There is no such file, it is damaged, or from another edgeconv.
        """
        try:
            text = read_document(path)
        except UsageError as error:
            raise UsageError(
                error.message, hint="name the file that the interrupted measurement printed"
            ) from error
        whole = text[: text.rfind(b"\n") + 1]
        first, *lines = whole.splitlines() or [b""]
        journal = cls(Session.parse(first, path), path)
        for number, line in enumerate(lines, 2):
            journal._take(_entry(line, f"{path} is damaged in line {number}"))
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        return journal

    def add(self, entry: Entry) -> None:
        """Keep an entry, on disk when this returns."""
        self._take(entry)
        self._append(entry)

    def add_cut(self, entry: SetAside) -> None:
        """Keep the samples of a process that this session did not see end."""
        self.add(entry)
        self._cut += 1

    def remove(self) -> None:
        """Remove it from disk: the result has everything."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def check_same(self, session: Session) -> None:
        """Refuse to go on with anything but what was begun.

        Raises:
            UsageError: a file changed, or options or the device differ.
        """
        begun = self.session
        if session.device != begun.device:
            raise UsageError(
                f"{self.path} was begun on {begun.device}, not on {session.device}",
                hint="resume it on that device",
            )
        if session.measures != begun.measures:
            raise UsageError(
                f"{self.path} was begun as {_words(begun.measures)}, not as "
                f"{_words(session.measures)}",
                hint="resume it with the options that it was begun with, or with none",
            )
        for name, value in begun.options:
            asked = getattr(session.options, name)
            if asked != value:
                option = name.replace("_", "-")
                raise UsageError(
                    f"{self.path} was begun with {option} {value}, not {asked}",
                    hint="resume it with the options that it was begun with",
                )
        if len(session.files) != len(begun.files):
            raise UsageError(
                f"{self.path} was begun with {len(begun.files)} files", hint="name the same files"
            )
        hashes = [(f.name, f.sha256) for f in begun.files] + [("the inputs", begun.inputs_sha256)]
        now = [f.sha256 for f in session.files] + [session.inputs_sha256]
        for (name, before), after in zip(hashes, now, strict=True):
            if before != after:
                raise UsageError(
                    f"{name} changed since {self.path} was begun", hint="measure again"
                )

    def _take(self, entry: Entry) -> None:
        if entry.model >= len(self.session.rows):
            raise UsageError(
                f"{self.path} is damaged: it has no row {entry.model}", hint="measure again"
            )
        if isinstance(entry, Finished):
            self._check_place(entry.model, entry.run)
            self.finished.append(entry)
        else:
            self.set_aside.append(entry)

    def _check_place(self, row: int, run: ProcessRun) -> None:
        """Refuse what would leave one row with more processes than the others."""
        options = self.session.options
        if run.repetition >= max(options.repetitions, options.max_repetitions):
            raise UsageError(
                f"{self.path} is damaged: it has no repetition {run.repetition}",
                hint="measure again",
            )
        for other in self.finished:
            same = (other.model, other.run.repetition) == (row, run.repetition)
            if same or other.run.order == run.order:
                raise UsageError(
                    f"{self.path} is damaged: process {run.order} is there twice",
                    hint="measure again",
                )

    def _append(self, entry: Session | Entry) -> None:
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(entry.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EdgeconvError(
                f"{self.path} cannot be written: {error.strerror}",
                hint=room_hint(error, "measure again with another --out"),
            ) from error


def _words(measures: Measures) -> str:
    if measures.frame is None:
        return f"a measurement of kind {measures.kind.value}"
    width, height = measures.frame
    return f"a measurement of kind {measures.kind.value} with frames of {width}x{height}"


def _not_created(path: Path, error: OSError) -> UsageError:
    if isinstance(error, FileExistsError):
        return UsageError(
            f"{path} is an unfinished measurement",
            hint=f"continue it with `edgeconv bench --resume {path}`, or delete it",
        )
    return UsageError(
        f"{path} cannot be written: {error.strerror}",
        hint=room_hint(error, "choose another --out"),
    )


def _entry(line: bytes, damaged: str) -> Entry:
    """Validate one line; ``damaged`` begins the message."""
    try:
        return ENTRY.validate_json(line)
    except ValidationError as error:
        raise UsageError(f"{damaged}: {first_problem(error)}", hint="measure again") from error
