"""The warnings of Dask's worker processes, which have no logging of their own. It needs Dask."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from edgeconv.log_lines import show_warnings


class ShowWarnings(WorkerPlugin):
    """Has a worker show our warnings as the command itself does, also when it is started again."""

    def setup(self, worker: Any) -> None:
        """Called in the worker."""
        show_warnings()
