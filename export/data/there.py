"""Refuses paths of samples where nothing is, before a network is built and traced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.near_names import near_paths
from edgeconv.tar_file import is_tar

SYNTHETIC = "random"
"""What stands for synthetic samples in the place of a path."""
_WITHOUT_DATA = f"for synthetic inputs, say '{SYNTHETIC}'"


def refuse_missing(data: Any, wanted: str = _WITHOUT_DATA) -> None:
    """Refuse a path where nothing is; what is no path, or names several files, is left alone.

    Args:
        data: A path, or what else stands for samples.
        wanted: What to pass, for the hint.

    Raises:
        UsageError: Nothing is there.
    """
    if not isinstance(data, (str, Path)) or str(data) in ("", SYNTHETIC) or ".py:" in str(data):
        return
    path = Path(data)
    if not path.exists() and not is_tar(path):
        raise UsageError(f"{path}: no such file or folder", hint=near_paths(path, wanted))
