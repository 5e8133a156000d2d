"""Files that commands write."""

from __future__ import annotations

from pathlib import Path

from edgeconv.errors import UsageError


def refuse_unwritable(out: Path | None) -> None:
    """Raise UsageError, before anything slow, if a result cannot be written to ``out``."""
    if out is None:
        return
    if out.is_dir():
        raise UsageError(f"{out} cannot be written: it is a folder", hint="name a file")
    if not out.absolute().parent.is_dir():
        raise UsageError(
            f"{out} cannot be written: its folder does not exist", hint="make the folder first"
        )
