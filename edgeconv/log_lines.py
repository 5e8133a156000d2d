"""What is logged as lines that a terminal shows: ours with their hints, nothing that it obeys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from edgeconv.errors import Notice
from edgeconv.printable import printable, printable_lines
from edgeconv.wrapping import for_terminal

_SUBJECT: ContextVar[str] = ContextVar("subject", default="")


@contextmanager
def warnings_about(subject: str) -> Iterator[None]:
    """Name in every warning of the block, of this thread, what it is about."""
    token = _SUBJECT.set(subject)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def show_warnings() -> None:
    """Show our own warnings and their hints on standard error, in this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(WarningLines(handler.stream))
    handler.addFilter(_OnceForEachSubject())
    _only(handler)


def pass_warnings_on(send: Callable[[dict[str, str]], None]) -> None:
    """Give our own warnings to another process, which shows them, instead of showing them here.

    Args:
        send: Takes a warning to a process that calls :func:`take_warning` with it.
    """
    _only(_Sender(send))


def take_warning(passed: Mapping[str, str]) -> None:
    """Warn as the process did that passed the warning on."""
    notice = Notice(passed["message"], passed["hint"])
    with warnings_about(passed["subject"]):
        logging.getLogger("edgeconv").log(int(passed["level"]), notice)


def _only(handler: logging.Handler) -> None:
    """Let this handler alone have our warnings."""
    ours = logging.getLogger("edgeconv")
    ours.setLevel(logging.WARNING)
    ours.handlers = [handler]
    ours.propagate = False


class _Sender(logging.Handler):
    """Turns a record into texts that any process can read."""

    def __init__(self, send: Callable[[dict[str, str]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a warning."""
        notice = record.msg if isinstance(record.msg, Notice) else None
        self._send(
            {
                "level": str(record.levelno),
                "subject": _SUBJECT.get(),
                "message": notice.message if notice else record.getMessage(),
                "hint": notice.hint if notice else "",
            }
        )


class _OnceForEachSubject(logging.Filter):
    """Drops a warning that was shown about the same subject; without a subject all are shown."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to show it."""
        subject, text = _SUBJECT.get(), record.getMessage()
        if not subject:
            return True
        new = (subject, text) not in self._shown
        self._shown.add((subject, text))
        return new


class WarningLines(logging.Formatter):
    """A warning, and what to do about it on a line of its own.

    Args:
        stream: Where they are shown.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record, as the stream shows them."""
        lines = self._lines(record).splitlines()
        return "\n".join(for_terminal(line, self._stream) for line in lines)

    def _lines(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        if subject := _SUBJECT.get():
            level = f"{level}: {printable(subject)}"
        if isinstance(record.msg, Notice):
            notice = f"{level}: {printable(record.msg.message)}"
            return f"{notice}\nhint: {printable(record.msg.hint)}" if record.msg.hint else notice
        return printable(f"{level}: {super().format(record)}")


class PrintableLines(logging.Formatter):
    """Lines of any logger, such as those of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return printable_lines(super().format(record))
