"""What Dask's worker processes do otherwise than a command. It needs Dask."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

from distributed import WorkerPlugin

from edgeconv.log_lines import pass_warnings_on

WARNINGS = "edgeconv-warnings"  # the topic of Dask's events that they are


class WorkerOfSweep(WorkerPlugin):
    """Has a worker give its warnings to the sweeps of its cluster, also when it is started again.

    A sweep sees the warnings of all workers and shows each once. The worker itself shows none: it
    may be on another machine, or write on the same terminal.

    Args:
        own: Whether the sweep started it. Ctrl-C reaches such a process as well, and it leaves that
            to the command, which ends it, instead of printing a traceback.
    """

    def __init__(self, *, own: bool) -> None:
        self._own = own

    def setup(self, worker: Any) -> None:
        """Called in the worker."""
        pass_warnings_on(partial(worker.log_event, WARNINGS))
        if self._own:
            # It has the command's own streams, and networks may print.
            sys.stdout = sys.stderr
            # Not SIG_IGN, which the processes that a job starts would inherit.
            signal.signal(signal.SIGINT, lambda *_: None)
