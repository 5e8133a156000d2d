"""Signals that ask a command to end, and the exit code that says which one it was."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

# A terminal that is closed and a polite kill are interruptions as Ctrl-C is: temporary folders are
# removed, children are ended. SIGQUIT stays what ends a process at once.
_ASK_TO_END = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}
_received: int | None = None


def watch() -> None:
    """Make an interruption of each signal that nothing handles; one that is ignored stays so."""
    for number, default in _ASK_TO_END.items():
        if signal.getsignal(number) == default:
            signal.signal(number, _interrupt)


def exit_code() -> int | None:
    """The exit code of a command that a signal ended, as shells have it; None if there was none."""
    return None if _received is None else 128 + _received


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    global _received  # a process has its signals once
    _received = number
    raise KeyboardInterrupt
