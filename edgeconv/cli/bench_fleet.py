"""Several devices side by side: a command line of its own for each, all at once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
from click.core import ParameterSource

from edgeconv.cli.bench_options import EMULATED, BenchSettings
from edgeconv.cli.values import as_given
from edgeconv.device import open_device
from edgeconv.device.emulated.boards import board_named
from edgeconv.device.names import address_of
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.report.output import echo_json, echo_line, echo_lines
from edgeconv.report.tables import error_console, progress

PROGRAM = "from edgeconv.cli import main; main()"
OURS = ("devices", "out", "quiet", "resume")  # options that each device gets its own of, or none
LOOK_SECONDS = 0.2


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
    def failure(self) -> tuple[str, str]:
        """The message of its error, and the hint below it or an empty string."""
        message, hint = f"ended with status {self.process.returncode}", ""
        for line in self.said:
            if line.startswith("error: "):
                message, hint = line.removeprefix("error: "), ""
            elif line.startswith("hint: "):
                hint = line.removeprefix("hint: ")
        return message, hint

    @property
    def written(self) -> str:
        """What it wrote on standard output: the table or the JSON."""
        self.stdout.seek(0)
        return self.stdout.read().decode("utf-8", "replace")


def bench_side_by_side(settings: BenchSettings) -> None:
    """Run the current ``edgeconv bench`` on every device at once, and print what each found.

    ``--out`` names a folder, which gets one result per device.

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
    for device in devices:
        _refuse_unknown(device)
    results = _result_files(devices, settings.out)
    with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
        members = [
            _start(device, result, Path(folder) / str(index))
            for index, (device, result) in enumerate(zip(devices, results, strict=True))
        ]
        with _ended(members), progress("Measuring", settings.quiet) as show:
            while running := sum(member.process.poll() is None for member in members):
                done, total = len(members) - running, len(members)
                show(f"Measuring on {total} devices", done, total)
                time.sleep(LOOK_SECONDS)
        _print(members, as_json=settings.as_json)
        failed = [member for member in members if member.process.returncode != 0]
        if failed:
            why = "; ".join(_reason(member) for member in failed)
            refused = all(member.process.returncode == UsageError.exit_code for member in failed)
            kind = UsageError if refused else MeasurementError
            raise kind(
                f"{len(failed)} of {len(members)} devices failed: {why}",
                hint=_hint(failed),
                after_result=True,
            )


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
    context = click.get_current_context()
    options: list[str] = []
    for parameter in context.command.params:
        name = parameter.name
        if name is None or name in OURS or not isinstance(parameter, click.Option):
            continue
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = () if parameter.is_flag else (as_given(parameter, context.params[name]),)
            options += [max(parameter.opts, key=len), *value]
    return [*options, "--", *map(str, context.params["paths"])]


@contextmanager
def _ended(members: Sequence[Member]) -> Iterator[None]:
    """End all of them with the block; pass an interruption on, so that each keeps its results."""
    try:
        yield
    except BaseException as error:
        for member in members:
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGINT)
        for member in members:
            member.process.wait()
        if not isinstance(error, KeyboardInterrupt):
            raise
        failed = [member for member in members if member.process.returncode]
        why = "; ".join(map(_kept, failed))
        raise MeasurementError(f"interrupted: {why}", hint=_hint(failed)) from error


def _kept(member: Member) -> str:
    """What is left of an interrupted one, or why it had failed before."""
    return _reason(member).replace("interrupted; ", "", 1)


def _reason(member: Member) -> str:
    """Why it failed, with the device's name once."""
    why = member.failure[0]
    named = why.startswith(f"{member.device}: ") or f" on {member.device}: " in why
    return why if named else f"{member.device}: {why}"


def _hint(members: Sequence[Member]) -> str:
    """What the failed ones say to do, each thing once."""
    return "; ".join(dict.fromkeys(filter(None, (member.failure[1] for member in members))))


def _refuse_unknown(device: str) -> None:
    """Raise UsageError unless there is such a device; none is started or connected to."""
    address = address_of(device)
    if address.startswith(EMULATED):
        board_named(address.removeprefix(EMULATED))
    else:
        open_device(address)


def _print(members: Sequence[Member], *, as_json: bool) -> None:
    good = [member for member in members if member.process.returncode == 0]
    if as_json:
        echo_json([json.loads(member.written) for member in good])
        return
    for member in good:
        echo_line(member.device, bold=True)
        echo_lines(member.written)
        for line in member.said:
            error_console().print(f"{member.device}: {line}")
