r"""Text that is safe to print.

Names in models, manifests, results and on devices are not ours. They can hold what a terminal obeys
(escape sequences), what breaks a line in two, and what makes a line read in another order. All of
it is written as ``\x1b`` before it is printed.
"""

from __future__ import annotations

import json
import os
import re

# Where an output's encoding has no such character.
_PLAIN = {
    "×": "x",
    "–": "-",
    "→": "->",
    "↑": "^",
    "█": "#",
    "…": "...",
    "±": "+/-",
    "µ": "u",
}


def printable(text: str) -> str:
    r"""``text`` on one line, with every character that is not printable as ``\x1b`` or ``\n``."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def shortened(text: str, most: int) -> str:
    """``text`` as :func:`printable` has it, in so many characters at most; … ends a cut one."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def without_middle(text: str, most: int = 4000) -> str:
    """``text``, or its two ends if a name from a file or a device makes it very long."""
    left_out = len(text) - most
    if left_out <= 0:
        return text
    return f"{text[: most // 2]} [… {left_out} characters …] {text[-(most // 2) :]}"


def printable_lines(text: str) -> str:
    """Lines of text, each as :func:`printable` has it."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(text: str, *, ascii_only: bool = False) -> str:
    r"""The same JSON with every character that is not printable as ``\u001b``.

    Args:
        text: Valid JSON. Outside of strings it has printable characters and line breaks only.
        ascii_only: Whether other characters than ASCII's are written that way, too.
    """

    def escaped(match: re.Match[str]) -> str:
        char = match[0]
        return char if char.isprintable() and not ascii_only else json.dumps(char)[1:-1]

    return re.sub(r"[^ -~\n]", escaped, text)


def file_name(name: str) -> str:
    r"""A path as text: bytes that are not UTF-8 as ``\xff``, which JSON and UTF-8 can hold."""
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return printable(name)


def in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks; an error handler for ``codecs.register_error``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(char) or _as_escape(char) for char in lacking), error.end


def _escaped(char: str) -> str:
    return char if char.isprintable() else _as_escape(char)


def _as_escape(char: str) -> str:
    # A byte of a file name that is not UTF-8 reaches Python as a surrogate.
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
