"""The name of files whose network was given without one."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

# A factory with such a name says nothing about what it makes.
_NAMELESS = re.compile(
    r"(make|build|create|get|load|new)?_?(my_?)?(model|net|network|module|it)?", re.IGNORECASE
)


def file_stem(spec: str) -> str:
    """A file name from a model specification: the factory's name if it has one, or the file's."""
    where, _, name = spec.rpartition(":")
    if not where or _NAMELESS.fullmatch(name):
        path = where or spec
        is_file = path.endswith((".py", ".onnx", ".pt2"))
        name = Path(path).stem if is_file else path.rpartition(".")[2]
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-") or "model"
