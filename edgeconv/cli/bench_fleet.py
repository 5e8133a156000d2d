"""Several devices side by side: a command line of its own for each, all that are free at once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, NoReturn

import click

from edgeconv.cli import kept, main
from edgeconv.cli.bench_boards import warn_of_another_board
from edgeconv.cli.bench_options import EMULATED, BenchSettings
from edgeconv.cli.bench_session import NOTHING_KEPT
from edgeconv.cli.values import stated_words
from edgeconv.device import open_device
from edgeconv.device.boards import Board, Pool
from edgeconv.device.dispatch import Dispatcher, Failure, Measurement
from edgeconv.device.emulated.boards import board_named
from edgeconv.errors import BusyDevice, MeasurementError, UsageError
from edgeconv.report.output import echo_json, echo_line, echo_lines
from edgeconv.report.tables import error_console, progress
from edgeconv.scratch import temporary_folder

PROGRAM = "from edgeconv.cli.bench_fleet import member; member()"
BUSY_STATUS = 75  # of a member whose device is in use by others; EX_TEMPFAIL of sysexits.h
OURS = ("devices", "wait", "out", "quiet", "resume")  # each device gets its own of these, or none
LOOK_SECONDS = 0.2
NOT_BEGUN = Failure(NOTHING_KEPT)


@dataclass
class Member:
    """The measurement on one device. Its output goes to files: a pipe would fill up."""

    device: str
    process: subprocess.Popen[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    @property
    def said(self) -> list[str]:
        """What it wrote on standard error: notes, and why it failed at the end."""
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace").strip().splitlines()

    @property
    def failure(self) -> Failure | None:
        """Its error, if it failed."""
        status = self.process.returncode
        if status == 0:
            return None
        message, hint = f"ended with status {status}", ""
        for line in self.said:
            if line.startswith("error: "):
                message, hint = line.removeprefix("error: "), ""
            elif line.startswith("hint: "):
                hint = line.removeprefix("hint: ")
        return Failure(message, hint, busy=status == BUSY_STATUS)

    @property
    def written(self) -> str:
        """What it wrote on standard output: the table or the JSON."""
        self.stdout.seek(0)
        return self.stdout.read().decode("utf-8", "replace")


@dataclass
class Asked:
    """What one ``--device`` asks for.

    Attributes:
        pool: Its boards.
        out: The file of its result, before a board of a pool is known.
        member: What measures it, or did so last.
        failure: Why there is no result, once that is known.
    """

    pool: Pool
    out: Path | None
    member: Member | None = None
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """The device, and of a pool the board."""
        if self.member is None or self.pool.name == self.member.device:
            return self.pool.name
        return f"{self.pool.name}: {self.member.device}"

    def result_on(self, board: Board) -> Path | None:
        """The file of its result on a board."""
        if self.out is None or len(self.pool.boards) == 1:
            return self.out
        return self.out.with_name(f"{self.out.stem}@{board.name}{self.out.suffix}")


def member() -> NoReturn:
    """The command line of one device; a device in use has an exit status of its own."""
    BusyDevice.exit_code = BUSY_STATUS
    main()


def bench_side_by_side(settings: BenchSettings, pools: Sequence[Pool]) -> None:
    """Run the current ``edgeconv bench`` on every device at once, and print what each found.

    ``--out`` names a folder, which gets one result per device. Of a pool the next free board
    measures.

    Raises:
        UsageError: a device is named twice or unknown, an option goes with one device only, or all
            that failed refused the request.
        MeasurementError: some devices failed; what the others found is printed nevertheless.
    """
    devices = settings.devices
    if settings.resume is not None:
        raise UsageError(
            "--resume continues the measurement of one device", hint="name no other device"
        )
    twice = [device for device in devices if devices.count(device) > 1]
    if twice:
        raise UsageError(f"device {twice[0]} is named twice", hint="name each device once")
    for board in (board for pool in pools for board in pool.boards):
        _refuse_unknown(board)
    results = _result_files(devices, settings.out)
    asked = [Asked(pool, result) for pool, result in zip(pools, results, strict=True)]
    with temporary_folder() as folder:
        _measure(asked, settings, folder)
        if not all(each.failure for each in asked):
            kept.made(*([settings.out] if settings.out is not None else []))
            kept.made(*([] if settings.no_history else ["the history"]))
        _print(asked, as_json=settings.as_json)
        failed = [each for each in asked if each.failure is not None]
        if failed:
            why = "; ".join(map(_reason, failed))
            status = {each.member.process.returncode for each in failed if each.member is not None}
            kind = UsageError if status == {UsageError.exit_code} else MeasurementError
            raise kind(
                f"{len(failed)} of {len(asked)} devices failed: {why}",
                hint=_hint(failed),
                after_result=True,
            )


def _measure(asked: Sequence[Asked], settings: BenchSettings, folder: Path) -> None:
    """Measure what is asked, all at once as far as its boards are free."""
    boards = Dispatcher[Asked](settings.wait)
    for each in sorted(asked, key=lambda each: len(each.pool.boards)):  # a pool takes what is left
        boards.add(Measurement(each, each.pool))
    running: list[tuple[Measurement[Asked], Board, Member]] = []
    started = count()
    with _ended(asked), progress("Measuring", settings.silent) as show:
        while boards or running:
            for measurement, board in boards.start():
                result = measurement.what.result_on(board)
                begun = _start(board.name, result, folder / str(next(started)))
                measurement.what.member = begun
                running.append((measurement, board, begun))
            over = [each for each in running if each[2].process.poll() is not None]
            running = [each for each in running if each not in over]
            for measurement, board, ended in over:
                measurement.what.failure = boards.ended(measurement, board, ended.failure)
                if ended.failure is not None and measurement.what.failure is None:
                    warn_of_another_board(measurement.pool, ended.failure)
            done = len(asked) - len(boards) - len(running)
            show(f"Measuring on {len(asked)} devices", done, len(asked))
            if boards or running:
                time.sleep(LOOK_SECONDS)


def _result_files(devices: Sequence[str], out: Path | None) -> list[Path | None]:
    """A file per device in the folder ``out``; their names have only characters that are safe."""
    if out is None:
        return [None] * len(devices)
    if out.exists() and not out.is_dir():
        raise UsageError(
            f"{out} is a file; with several devices, --out names a folder", hint="name a folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    names = [re.sub(r"[^A-Za-z0-9.-]+", "_", device).strip("._") for device in devices]
    return [
        out / (f"{name}.json" if names.count(name) == 1 else f"{name}-{index + 1}.json")
        for index, name in enumerate(names)
    ]


def _start(device: str, result: Path | None, base: Path) -> Member:
    arguments = ["--device", device, "--quiet", *(("--out", str(result)) if result else ())]
    stdout, stderr = base.with_suffix(".out").open("w+b"), base.with_suffix(".err").open("w+b")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "bench", *arguments, *_given()],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,  # a terminal's Ctrl-C reaches us, and we pass it on once
    )
    return Member(device, process, stdout, stderr)


def _given() -> list[str]:
    """The rest of the command line, as it was given to us."""
    parameters = click.get_current_context().params
    return [*stated_words(set(parameters).difference(OURS)), "--", *map(str, parameters["paths"])]


@contextmanager
def _ended(asked: Sequence[Asked]) -> Iterator[None]:
    """End all processes with the block; an interruption is passed on, so that each keeps its part.

    What waits for a board is interrupted, too.
    """
    try:
        yield
    except BaseException as error:
        members = [each.member for each in asked if each.member is not None]
        for member in members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGINT)
        for member in members:
            member.process.wait()
        if not isinstance(error, KeyboardInterrupt):
            raise
        for each in asked:
            if each.failure is None:
                each.failure = NOT_BEGUN if each.member is None else each.member.failure
        failed = [each for each in asked if each.failure is not None]
        why = "; ".join(map(_kept, failed))
        raise MeasurementError(f"interrupted: {why}", hint=_hint(failed)) from error


def _kept(asked: Asked) -> str:
    """What is left of an interrupted one, or why it had failed before."""
    return _reason(asked).replace("interrupted; ", "", 1)


def _reason(asked: Asked) -> str:
    """Why it failed, with the device's name once."""
    assert asked.failure is not None
    device = asked.pool.name if asked.member is None else asked.member.device
    why = asked.failure.message
    named = why.startswith(f"{device}: ") or f" on {device}: " in why
    return why if named else f"{device}: {why}"


def _hint(failed: Sequence[Asked]) -> str:
    """What the failed ones say to do, each thing once."""
    hints = (each.failure.hint for each in failed if each.failure is not None)
    return "; ".join(dict.fromkeys(filter(None, hints)))


def _refuse_unknown(board: Board) -> None:
    """Raise UsageError unless there is such a device; none is started or connected to."""
    if board.is_emulated:
        board_named(board.address.removeprefix(EMULATED))
    else:
        open_device(board.address)


def _print(asked: Sequence[Asked], *, as_json: bool) -> None:
    good = [(each.name, each.member) for each in asked if each.member and not each.failure]
    if as_json:
        echo_json([json.loads(member.written) for _, member in good])
        return
    for name, member in good:
        echo_line(name, bold=True)
        echo_lines(member.written)
        for line in member.said:
            error_console().print(f"{member.device}: {line}")
