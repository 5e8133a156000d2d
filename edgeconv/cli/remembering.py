"""What commands do with a result besides printing it: keep it in the history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.cli import kept
from edgeconv.errors import EdgeconvError
from edgeconv.report.tables import print_notes

if TYPE_CHECKING:
    from edgeconv.bench.history_run import HistoryRun
    from edgeconv.versioned import Versioned


def remember(result: Versioned, store: str | None, run: HistoryRun | None = None) -> None:
    """Keep the result in the history; a history that cannot be written must not cost the result.

    Args:
        result: The result.
        store: The history, as ``--store`` names it.
        run: What the history has of it, where the result does not say that itself.
    """
    from edgeconv.store.history import History
    from edgeconv.store.revision import current_revision

    try:
        number = History.at(store).add(result, current_revision(Path.cwd()), run)
        kept.made(f"run {number} of the history")
    except (EdgeconvError, OSError) as error:
        why = error.message if isinstance(error, EdgeconvError) else str(error)
        print_notes([f"not kept in the history: {why}"])
