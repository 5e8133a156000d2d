"""What an examination of an installation finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How well something is: OPTIONAL is not there and not needed, WARNING may become a trouble."""

    OK = "ok"
    OPTIONAL = "optional"
    WARNING = "warning"
    ERROR = "error"


class Section(str, Enum):
    """What findings are about."""

    SYSTEM = "System"
    PACKAGES = "Packages"
    RUNTIMES = "Runtimes"
    EXTRAS = "Extras"
    BOARDS = "Boards"
    FOLDERS = "Folders"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: What it is about.
        name: Its name.
        state: How well it is.
        found: What was found, on one line.
        hint: What to do about it, as in :class:`edgeconv.errors.EdgeconvError`; empty if it is OK.
    """

    section: Section
    name: str
    state: State
    found: str
    hint: str = ""
