"""Where the current command has put its result, for the message if it cannot be printed."""

from __future__ import annotations

from pathlib import Path

_places: list[str] | None = None  # of this process, which runs one command


def forget() -> None:
    """Begin a command, which has no result yet."""
    global _places
    _places = None


def made(*places: Path | str) -> None:
    """Note that there is a result, and that it is in these places besides those noted before."""
    global _places
    _places = [*(_places or ()), *map(str, places)]


def sentence() -> str:
    """Such as "the result is in out"; empty while there is no result."""
    if _places is None:
        return ""
    return f"the result is in {' and '.join(_places)}" if _places else "the result is not kept"
