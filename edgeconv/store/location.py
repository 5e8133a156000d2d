"""Where the history lies if no store is named."""

from __future__ import annotations

import os
from pathlib import Path

from edgeconv.user_folders import state_folder, stated_path


def default_path() -> Path:
    """``EDGECONV_HISTORY``, or ``edgeconv/history.db`` in the user's state folder (XDG)."""
    if chosen := os.environ.get("EDGECONV_HISTORY"):
        return stated_path(chosen)
    return state_folder() / "history.db"
