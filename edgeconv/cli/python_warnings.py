"""Python's own warnings: those of the user's code as lines like ours, those of libraries not."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

from edgeconv.printable import without_middle

_LIBRARY = Path(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}


def show_only_the_users() -> None:
    """Let what code outside of installed packages does wrong be shown, each once.

    ``python -W`` and PYTHONWARNINGS state what else to show, and change nothing then.
    """
    if not sys.warnoptions:
        warnings.showwarning = _Once()


class _Once:
    """In the place of :func:`warnings.showwarning`; blocks that hide warnings restore it."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, int, str]] = set()

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        key = (filename, lineno, text)
        if key in self._shown or _is_installed(Path(filename)):
            return
        self._shown.add(key)
        warned = without_middle(f"{filename}:{lineno}: {text}")
        logging.getLogger("edgeconv").warning("%s", warned)


def _is_installed(file: Path) -> bool:
    return _LIBRARY in file.parents or not _INSTALLED.isdisjoint(file.parts)
