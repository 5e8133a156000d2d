"""What is logged as lines that a terminal shows: ours with their hints, nothing that it obeys."""

from __future__ import annotations

import logging

from edgeconv.errors import Notice
from edgeconv.printable import printable, printable_lines


def show_warnings() -> None:
    """Show our own warnings and their hints on standard error, in this process."""
    handler = logging.StreamHandler()
    handler.setFormatter(WarningLines())
    ours = logging.getLogger("edgeconv")
    ours.setLevel(logging.WARNING)
    ours.handlers = [handler]
    ours.propagate = False


class WarningLines(logging.Formatter):
    """A warning, and what to do about it on a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        level = record.levelname.lower()
        if isinstance(record.msg, Notice):
            notice = f"{level}: {printable(record.msg.message)}"
            return f"{notice}\nhint: {printable(record.msg.hint)}" if record.msg.hint else notice
        return printable(f"{level}: {super().format(record)}")


class PrintableLines(logging.Formatter):
    """Lines of any logger, such as those of a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return printable_lines(super().format(record))
