"""The command that makes sense after another one, as its last line: ``next: edgeconv bench out``.

It stands on standard error, where a person reads it and no program does.
"""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

from edgeconv.report.output import echo_line


def can_draw() -> bool:
    """Whether `edgeconv report` can be proposed: it needs matplotlib, which is an extra."""
    return find_spec("matplotlib") is not None


def suggest(*words: str | Path) -> None:
    """Print the command of these words after ``edgeconv``, quoted for a shell.

    Nothing is printed if a word has characters that are not shown as they are: the command could
    not be copied.

    Args:
        words: The command, its arguments and its options; a ``Path`` is never taken for an option.
    """
    line = shlex.join(("edgeconv", *map(_word, words)))
    if line.isprintable():
        echo_line(f"next: {line}", err=True)


def model_words(model: str) -> list[str]:
    """A network as ``edgeconv export`` takes it, with trained weights if the zoo has some."""
    from edgeconv.models.pretrained import FILES

    return [model, *(["--pretrained"] if model in FILES else [])]


def _word(word: str | Path) -> str:
    text = str(word)
    return f"./{text}" if isinstance(word, Path) and text.startswith("-") else text
