"""Try in another process first what may end the one that runs it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import warnings
from collections.abc import Callable

from edgeconv.errors import EdgeconvError
from edgeconv.export.quiet import debugging

# A child that takes longer says nothing; what it tried is then done here without it.
_SECONDS = 120


def demand_survival(what: str, attempt: Callable[[], object]) -> None:
    """See whether this process lives through ``attempt``, as :func:`fatal_signal` does.

    XNNPACK checks some scales by ending the process.

    Args:
        what: The subject of the message, such as the name of a file with "on" a runtime.
        attempt: What is tried.

    Raises:
        EdgeconvError: The process does not.
    """
    name = fatal_signal(attempt)
    if name:
        raise EdgeconvError(
            f"{what} ends the whole process ({name})",
            hint="report the network; another --precision may work",
        )


def fatal_signal(attempt: Callable[[], object]) -> str:
    """Run ``attempt`` in a copy of this process.

    Only Linux copies a process with threads reliably; elsewhere nothing is tried.

    Args:
        attempt: What is tried. An exception does not count, because it comes again in this process.

    Returns:
        The name of the signal that ended the copy; empty if none did.
    """
    if sys.platform != "linux":
        return ""
    with warnings.catch_warnings():
        # The child runs one runtime on one thread, and none that this process has started.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _run(attempt)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGALRM:
        return signal.Signals(os.WTERMSIG(status)).name
    return ""


def _run(attempt: Callable[[], object]) -> None:
    """Do it, and end this process without a word and without any clean-up of the parent's."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_SECONDS)
        faulthandler.disable()
        if not debugging():
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
        attempt()
    finally:
        os._exit(0)
