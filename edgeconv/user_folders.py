"""Where the user's files lie, by the XDG Base Directory Specification."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """Return ``edgeconv`` in the folder of configuration (XDG_CONFIG_HOME or ``~/.config``)."""
    return _folder("XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """Return ``edgeconv`` in the folder of caches (XDG_CACHE_HOME or ``~/.cache``)."""
    return _folder("XDG_CACHE_HOME", ".cache")


def state_folder() -> Path:
    """Return ``edgeconv`` in the folder of state (XDG_STATE_HOME or ``~/.local/state``)."""
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, default: str) -> Path:
    # The specification has relative paths ignored.
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / default) / "edgeconv"
