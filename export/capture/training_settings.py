"""What a training saved of its settings beside the weights, as far as a factory takes it."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeconv.errors import EdgeconvError
from edgeconv.export.capture.weights_file import read_weights_file
from edgeconv.model_args import ModelArg, ModelArgs

# Where Lightning and others put them; they may lie in such a group once more.
_KEYS = ("hyper_parameters", "hparams", "args", "config", "cfg", "model_args", "model_kwargs")
_INNER = (*_KEYS, "model", "net", "network", "init_args")
_MOST_DEPTH = 3
_MOST_NAMED = 6
# What a shell passes on as it is.
_WORD = re.compile(r"[\w.+/-]{1,60}")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def settings_hint(path: Path, factory: Callable[..., Any] | None, args: ModelArgs) -> str | None:
    """The arguments of a factory that the settings in a checkpoint state otherwise than ``args``.

    Args:
        path: The checkpoint.
        factory: What makes the network; None where it is not known.
        args: What the factory was called with.

    Returns:
        A hint; None where the settings say nothing that the factory takes.
    """
    if factory is None:
        return None
    try:
        parameters = inspect.signature(factory).parameters.values()
        content = read_weights_file(path)
    except (TypeError, ValueError, EdgeconvError):  # a built-in, or a file that is refused later
        return None
    stated = dict(_stated(content)) if isinstance(content, Mapping) else {}
    shown = []
    for each in parameters:
        if each.kind not in _BY_NAME or each.name not in stated:
            continue
        text = _as_text(stated[each.name])
        if text is not None and stated[each.name] != args.get(each.name, each.default):
            shown.append(f"--model-arg {each.name}={text}")
    if not shown:
        return None
    return f"{path.name} was saved with other settings: pass {' '.join(shown[:_MOST_NAMED])}"


def _stated(content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The settings in a checkpoint by name; of two of one name the outer one comes last."""
    for key in _KEYS:
        yield from _within(content.get(key), 0)


def _within(group: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(group, argparse.Namespace):
        group = vars(group)
    if not isinstance(group, Mapping) or depth >= _MOST_DEPTH:
        return
    for key in _INNER:
        yield from _within(group.get(key), depth + 1)
    yield from ((name, value) for name, value in group.items() if isinstance(name, str))


def _as_text(value: ModelArg | Any) -> str | None:
    """A setting as ``--model-arg`` reads it; None for what it cannot be."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else None
    if isinstance(value, (list, tuple)) and value:
        parts = [None if isinstance(each, (list, tuple)) else _as_text(each) for each in value]
        return None if None in parts else f"[{','.join(map(str, parts))}]"
    return None
