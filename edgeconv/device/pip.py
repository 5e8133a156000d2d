"""The pip of this Python, which fetches the wheels that boards get."""

from __future__ import annotations

import importlib.util
import shlex
import sys

from edgeconv.errors import UsageError


def pip() -> tuple[str, ...]:
    """The command that runs pip.

    Raises:
        UsageError: This Python has none, as in the environments that uv makes.
    """
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"{sys.executable} has no pip, which fetches the runtimes of boards",
            hint=f"run `{shlex.quote(sys.executable)} -m ensurepip`, or `uv pip install pip`",
        )
    return sys.executable, "-m", "pip"
