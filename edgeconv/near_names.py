"""Offers the names that resemble one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from edgeconv.errors import UsageError

# What other tools call the same, by whose distance from ours fp16 would be int8.
_OTHER_NAMES = {
    "fp32": "float32",
    "float": "float32",
    "full": "float32",
    "fp16": "float16",
    "half": "float16",
    "qint8": "int8",
    "quint8": "uint8",
    "w8a8": "int8",
    "dynamic": "int8-dynamic",
    "int16": "int16x8",
    "w8a16": "int16x8",
    "adaround": "adaptive",
    "softmax": "probabilities",
    "argmax": "label",
    "class": "label",
    "onnxruntime": "onnx",
    "ort": "onnx",
    "litert": "tflite",
    "tensorflow": "tflite",
    "channels_last": "nhwc",
    "channels_first": "nchw",
    "max": "minmax",
    "kl": "entropy",
}
_OFFERED = 3
_MOST_ENTRIES = 10_000  # of a folder that are looked at
_SHORTEST_BEGIN = 3


def near_names(name: str, known: Iterable[str], *, offered: int = _OFFERED) -> list[str]:
    """The known names that resemble ``name``, the nearest first; case does not count.

    Where none does, those that begin with it: ``range`` may mean ``range_method``. What other tools
    call something comes before both: ``fp16`` means ``float16``.
    """
    by_folded, folded = {each.casefold(): each for each in known}, name.casefold()
    if _OTHER_NAMES.get(folded) in by_folded:
        return [by_folded[_OTHER_NAMES[folded]]]
    near = difflib.get_close_matches(folded, by_folded, n=offered)
    if not near and len(name) >= _SHORTEST_BEGIN:
        near = [each for each in by_folded if each.startswith(folded)][:offered]
    return [by_folded[each] for each in near]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint ``did you mean 'a' or 'b'?``; ``otherwise`` where no known name is near.

    Args:
        name: The name that is not there.
        known: Those that are there.
        otherwise: What else to say.
    """
    near = near_names(name, known)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def near_paths(path: Path, otherwise: str = "") -> str:
    """The hint ``did you mean 'photos/cats'?`` for a path that is not there.

    What is offered stands in the folder that is the last one on the path to exist.

    Args:
        path: The path.
        otherwise: What to say where nothing there has a near name.
    """
    try:
        if path.exists():  # something else is wrong with it
            return otherwise
        while not path.parent.is_dir() and path != path.parent:
            path = path.parent
        known = [each.name for each in islice(path.parent.iterdir(), _MOST_ENTRIES)]
    except (OSError, ValueError):  # it cannot be read, or no path is so long or has such characters
        return otherwise
    near = [str(path.with_name(each)) for each in near_names(path.name, known) if each != path.name]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise


def not_a_file(path: Path, otherwise: str) -> UsageError:
    """The error for a path at which no file is: there is nothing, a folder, or a pipe.

    Args:
        path: The path.
        otherwise: What to say where nothing there has a near name.
    """
    if path.is_dir():
        return UsageError(f"{path} is a folder", hint=otherwise)
    what = "is not a file" if path.exists() else "no such file"
    return UsageError(f"{path}: {what}", hint=near_paths(path, otherwise))
