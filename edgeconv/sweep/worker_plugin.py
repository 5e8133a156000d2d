"""What Dask's worker processes do as the command itself does. It needs Dask."""

from __future__ import annotations

import signal
from typing import Any

from distributed import WorkerPlugin

from edgeconv.log_lines import show_warnings


class WorkerOfSweep(WorkerPlugin):
    """Has a worker show our warnings, also when it is started again.

    Args:
        own: Whether the sweep started it. Ctrl-C reaches such a process as well, and it leaves that
            to the command, which ends it, instead of printing a traceback.
    """

    def __init__(self, *, own: bool) -> None:
        self._own = own

    def setup(self, worker: Any) -> None:
        """Called in the worker."""
        show_warnings()
        if self._own:
            # Not SIG_IGN, which the processes that a job starts would inherit.
            signal.signal(signal.SIGINT, lambda *_: None)
