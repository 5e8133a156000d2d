"""Looks at the system: Python, the C library, programs, files of settings and folders."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeconv import __version__
from edgeconv.doctor.finding import Finding, Section, State
from edgeconv.errors import EdgeconvError, UsageError, first_line
from edgeconv.runner.probe import cpuinfo
from edgeconv.units import format_bytes
from edgeconv.user_folders import cache_folder, state_folder

OLDEST_PYTHON = (3, 10)
OLDEST_GLIBC = (2, 28)  # of the wheels of torch 2.9 and later (manylinux_2_28)
# A bundle of MobileNetV2 takes 40 MB, a userland of an emulated board 500 MB.
LOW_BYTES = 1_000_000_000
FULL_BYTES = 100_000_000
_SECONDS = 20.0


def system() -> Iterator[Finding]:
    """Look at edgeconv, Python and the system below them."""
    where = Path(__file__).parents[1]
    yield Finding(Section.SYSTEM, "edgeconv", State.OK, f"{__version__} in {where}")
    yield _python()
    yield _platform()
    yield from _processor()


def boards() -> Iterator[Finding]:
    """Look at what reaching and emulating boards takes."""
    yield _ssh()
    yield _emulation()
    yield _device_names()


def folders() -> Iterator[Finding]:
    """Look at the folders that edgeconv writes to."""
    for name, find, use in (
        ("cache", cache_folder, "results of sweeps, emulated boards"),
        ("state", state_folder, "history, interrupted measurements"),
        ("current folder", Path.cwd, ""),
        ("temporary files", lambda: Path(tempfile.gettempdir()), ""),
    ):
        yield _folder(name, find, use)


def _python() -> Finding:
    found = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        hint = "make a virtual environment with Python 3.10 or newer"
        return Finding(Section.SYSTEM, "Python", State.ERROR, found, hint)
    if sys.maxsize < 2**32:
        hint = "install edgeconv under a 64-bit Python; boards with 32 bits only run its files"
        return Finding(
            Section.SYSTEM, "Python", State.ERROR, f"{found}, which is a 32-bit program", hint
        )
    return Finding(Section.SYSTEM, "Python", State.OK, found)


def _platform() -> Finding:
    libc, number = platform.libc_ver()
    named = f"{libc} {number}" if libc else "a C library other than glibc"
    found = f"{platform.system()} {platform.release()}, {platform.machine()}, {named}"
    if platform.system() != "Linux":
        hint = "use Linux; on other systems nothing is tested"
        return Finding(Section.SYSTEM, "system", State.WARNING, found, hint)
    if libc != "glibc":
        hint = "use a system with glibc: torch and the runtimes have no wheels for another"
        return Finding(Section.SYSTEM, "system", State.WARNING, found, hint)
    if tuple(map(int, number.split(".")[:2])) < OLDEST_GLIBC:
        needed = ".".join(map(str, OLDEST_GLIBC))
        hint = f"use a system with glibc {needed} or newer, which the wheels of torch need"
        return Finding(Section.SYSTEM, "system", State.WARNING, found, hint)
    return Finding(Section.SYSTEM, "system", State.OK, found)


def _processor() -> Iterator[Finding]:
    """Say where ONNX Runtime's products of uint8 and int8 saturate by default."""
    cpu = cpuinfo()
    features = cpu.get("flags", "").split()
    if not features or any("vnni" in feature for feature in features):
        return
    found = (
        f"{cpu.get('model name', 'x86')} has no VNNI: ONNX Runtime's int8 kernels saturate in "
        "sessions that do not ask for exact ones, as edgeconv and a bundle's run.py do"
    )
    hint = 'set session.x64quantprecision to "1" in the sessions of your own programs'
    yield Finding(Section.SYSTEM, "processor", State.WARNING, found, hint)


def _ssh() -> Finding:
    name, use = "OpenSSH client", "for --device ssh://… and emulated boards"
    program = shutil.which("ssh")
    if program is None:
        hint = "install the system's package, such as openssh-client of Debian"
        return Finding(Section.BOARDS, name, State.OPTIONAL, f"is not installed; {use}", hint)
    said = _answer([program, "-V"])
    if said.startswith("No user exists"):
        found = f"{program} does not run as a user without a name; {use}"
        hint = "in a container, mount the host's /etc/passwd: -v /etc/passwd:/etc/passwd:ro"
        return Finding(Section.BOARDS, name, State.WARNING, found, hint)
    if not said.startswith("OpenSSH"):
        hint = "install OpenSSH's client, and put it first in PATH"
        return Finding(
            Section.BOARDS, name, State.WARNING, f"{program} is another program; {use}", hint
        )
    return Finding(Section.BOARDS, name, State.OK, f"{said.partition(',')[0]}, {program}")


def _emulation() -> Finding:
    name = "emulated boards"
    try:
        # These need packages that may be what is missing.
        from edgeconv.device.emulated.requirements import check_this_machine, session_obstacle

        check_this_machine()
        if obstacle := session_obstacle():
            hint = "use a kernel and a container that allow it, or measure on a board"
            return Finding(Section.BOARDS, name, State.OPTIONAL, obstacle, hint)
    except UsageError as error:
        hint = error.hint or "measure on a board"
        return Finding(Section.BOARDS, name, State.OPTIONAL, error.message, hint)
    except ImportError as error:
        found = f"not looked at: {first_line(error)}"
        return Finding(Section.BOARDS, name, State.OPTIONAL, found, "mend the errors above first")
    return Finding(Section.BOARDS, name, State.OK, "QEMU and the other programs are here")


def _device_names() -> Finding:
    name = "devices.toml"
    try:
        from edgeconv.device.names import named_devices, names_path, pools

        devices, pooled = named_devices(), pools()
        if not devices:
            return Finding(Section.BOARDS, name, State.OK, f"no names in {names_path()}")
    except EdgeconvError as error:
        return Finding(Section.BOARDS, name, State.ERROR, error.message, error.hint)
    except ImportError as error:
        found = f"not looked at: {first_line(error)}"
        return Finding(Section.BOARDS, name, State.OPTIONAL, found, "mend the errors above first")
    named = f"{', '.join(devices)}{''.join(f'; pool {pool}' for pool in pooled)}"
    return Finding(Section.BOARDS, name, State.OK, named)


def _folder(name: str, find: Callable[[], Path], use: str) -> Finding:
    """Look at the free space of a folder, and whether files can be made there."""
    try:
        folder = find()
    except EdgeconvError as error:
        return Finding(Section.FOLDERS, name, State.ERROR, error.message, error.hint)
    except OSError as error:  # the current folder was removed, or there is none for such files
        hint = "change to a folder that exists" if name == "current folder" else "set TMPDIR"
        return Finding(Section.FOLDERS, name, State.ERROR, first_line(error), hint)
    there = next(each for each in (folder, *folder.parents) if each.exists())
    shown = f"{folder}{f' ({use})' if use else ''}"
    try:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is not a folder")
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"edgeconv")
    except OSError as error:
        said = error.strerror or first_line(error)
        hint = f"make {there} writable for your account{_elsewhere(name)}"
        return Finding(Section.FOLDERS, name, State.ERROR, f"{shown}: {said}", hint)
    found = f"{shown}: {format_bytes(free)} free"
    if free < LOW_BYTES:
        state = State.ERROR if free < FULL_BYTES else State.WARNING
        hint = f"free some space on the disk of {there}{_elsewhere(name)}"
        return Finding(Section.FOLDERS, name, state, found, hint)
    return Finding(Section.FOLDERS, name, State.OK, found)


def _elsewhere(name: str) -> str:
    """How to have another folder for it, as the end of a hint."""
    variables = {
        "cache": "XDG_CACHE_HOME",
        "state": "XDG_STATE_HOME",
        "temporary files": "TMPDIR",
    }
    return f", or name another with {variables[name]}" if name in variables else ", or use another"


def _answer(command: list[str]) -> str:
    """What a program says of itself, on one line; empty if it fails or takes long."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode("utf-8", "replace").partition("\n")[0].strip()
