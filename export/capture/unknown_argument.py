"""Near names for an argument that a factory of a network does not take."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from edgeconv.export.capture.training_settings import settings_hint
from edgeconv.model_args import ModelArgs
from edgeconv.near_names import did_you_mean

_UNEXPECTED = re.compile(
    r"(?:(\w+)(?:\.__init__)?\(\) )?got an unexpected keyword argument '(\w+)'"
)
_MISSING = re.compile(r"missing (?:a|\d+) required [\w -]*arguments?: '(\w+)'")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MOST_LISTED = 12


def argument_hint(
    error: TypeError,
    factory: Callable[..., Any],
    args: ModelArgs | None = None,
    weights: Path | None = None,
) -> str:
    """What to do about a factory that raised ``error`` when it was called with keywords.

    Factories of libraries pass what they do not know on to a class, whose name is in the message.

    Args:
        error: What was raised.
        factory: The factory.
        args: What it was called with.
        weights: A checkpoint, whose settings may be the arguments that are missing.
    """
    missing = _MISSING.search(str(error))
    if missing is not None:
        stated = None if weights is None else settings_hint(weights, factory, args or {})
        return stated or f"pass --model-arg {missing[1]}=VALUE"
    found = _UNEXPECTED.search(str(error))
    if found is None:
        return "pass its arguments with --model-arg"
    module = sys.modules.get(getattr(factory, "__module__", ""))
    own, inner = _named(factory), _named(getattr(module, found[1] or "", None))
    names = list(dict.fromkeys([*own, *inner]))
    shown = ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")
    return did_you_mean(found[2], names, f"its arguments are {shown}" if names else "leave it out")


def _named(called: Any) -> Iterable[str]:
    """The names of what can be passed to a function or a class by name."""
    if not callable(called):
        return []
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # a built-in one
        return []
    return [each.name for each in parameters if each.kind in _BY_NAME]
