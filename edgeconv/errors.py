"""Errors that a user can act on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeconv.python_names import in_python

T = TypeVar("T")


def _lines(message: str, hint: str) -> str:
    return in_python(f"{message}\nhint: {hint}" if hint else message)


class EdgeconvError(Exception):
    """A failure, with what to do about it.

    Args:
        message: What happened and where, on one line.
        hint: What the user can do about it, on one line without a final period; empty where
            nothing is known.
        after_result: Whether the command has already printed its result, which explains the
            failure. With ``--json`` nothing else is printed on standard output then.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "", *, after_result: bool = False) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint
        self.after_result = after_result

    def __str__(self) -> str:
        """Message and hint for a caller from Python, with its arguments for options."""
        return _lines(self.message, self.hint)


@dataclass(frozen=True)
class Notice:
    """The message of a warning, for a logger, with what to do about it.

    Attributes:
        message: What was met and where, on one line.
        hint: What the user can do about it, as in :class:`EdgeconvError`.
    """

    message: str
    hint: str

    def __str__(self) -> str:
        """Message and hint for a caller from Python, with its arguments for options."""
        return _lines(self.message, self.hint)


class UsageError(EdgeconvError):
    """The request itself is wrong: an unknown name, a missing option, a path that is not there."""

    exit_code = 2


class DataError(EdgeconvError):
    """Calibration or evaluation data cannot be read, or has the wrong values."""


class MismatchedData(DataError):  # noqa: N818  # what was met, as above
    """Sound data for another network: its names, shapes or types are not those of the inputs."""

    exit_code = 2


class NoSamples(DataError):  # noqa: N818  # what was met, as above
    """A source of samples that is there, and has none that can be used."""

    exit_code = 2


class CaptureError(EdgeconvError):
    """PyTorch or the ONNX loader could not turn the network into a graph."""


class UnsupportedOperator(EdgeconvError):  # noqa: N818  # what was met, as onnx says it
    """An operator has no counterpart in the requested format."""


class VerificationError(EdgeconvError):
    """A written file does not compute what the network computes."""


class IncompleteExport(EdgeconvError):  # noqa: N818  # what was met, as above
    """Some files of an export failed; the bundle holds the others, which are right.

    Attributes:
        folder: The bundle's folder.
        failures: Why each of the other files failed, by its name.
    """

    def __init__(self, folder: Path, failures: Mapping[str, EdgeconvError]) -> None:
        by_reason: dict[str, list[str]] = {}
        for name, error in failures.items():
            by_reason.setdefault(error.message, []).append(name)
        reasons = "; ".join(
            message if names[0] in message else f"{' and '.join(names)} failed: {message}"
            for message, names in by_reason.items()
        )
        first = next(iter(failures.values()))
        super().__init__(f"{reasons}; the other files are right, and in {folder}", first.hint)
        self.folder = folder
        self.failures = dict(failures)


class BundleError(EdgeconvError):
    """A bundle on disk is missing, incomplete, changed, or from another schema version."""


class MeasurementError(EdgeconvError):
    """A latency measurement could not be completed."""


class BusyDevice(MeasurementError):  # noqa: N818  # what was met, as above
    """Another harness measures on the device."""


class LostConnection(MeasurementError):  # noqa: N818  # what was met, as above
    """A device cannot be reached, perhaps only for a while."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the size of a file leaves no room to write."""


def room_hint(error: OSError, otherwise: str) -> str:
    """What to do where something cannot be written: make room where that helps, or ``otherwise``.

    ``otherwise`` is another place, such as "name another file".
    """
    if error.errno == errno.EFBIG:
        return f"raise the limit of the size of files (`ulimit -f`), or {otherwise}"
    return f"free some space, or {otherwise}" if error.errno in NO_ROOM else otherwise


def attempted(action: Callable[[], T]) -> T | EdgeconvError:
    """The result of ``action``, or the failure that it raised."""
    try:
        return action()
    except EdgeconvError as error:
        return error


TRACEBACK_HINT = "edgeconv --debug shows the whole traceback"
"""For errors that code of the user's raised, or a library."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text that is not empty, or else the name of its type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
