"""The options of a network are the parameters of its factory; this checks what a caller passes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Literal, get_args, get_origin

from torch import nn

Factory = Callable[..., nn.Module]


class UnknownOption(ValueError):  # noqa: N818
    """The network has no option of that name, or not with that value."""


def option_types(factory: Factory) -> dict[str, object]:
    """The options of ``factory`` with their annotated types, in order; T for ``T | None``."""
    parameters = inspect.signature(factory, eval_str=True).parameters
    return {name: _without_none(parameter.annotation) for name, parameter in parameters.items()}


def _without_none(annotation: object) -> object:
    if not isinstance(annotation, UnionType):
        return annotation
    (kind,) = (kind for kind in get_args(annotation) if kind is not NoneType)
    return kind


def check_options(name: str, types: Mapping[str, object], options: Mapping[str, object]) -> None:
    """Raise UnknownOption unless ``options`` fit ``types``; ``name`` is for the message."""
    for option, value in options.items():
        if option not in types:
            valid = ", ".join(sorted(types)) or "none"
            raise UnknownOption(f"{name} has no option {option!r}; its options are {valid}")
        expected = types[option]
        if not _fits(value, expected):
            raise UnknownOption(f"{name}: {option} must be {_describe(expected)}, not {value!r}")
        problem = _out_of_range(option, value)
        if problem:
            raise UnknownOption(f"{name}: {option} must be {problem}, not {value!r}")


def _fits(value: object, expected: object) -> bool:
    if get_origin(expected) is Literal:
        return value in get_args(expected)
    if expected is bool or isinstance(value, bool):
        return expected is bool and isinstance(value, bool)
    if expected is float:
        return isinstance(value, int | float)
    return isinstance(expected, type) and isinstance(value, expected)


def _describe(expected: object) -> str:
    if get_origin(expected) is Literal:
        return "one of " + ", ".join(map(repr, get_args(expected)))
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    return names.get(expected, str(expected)) if isinstance(expected, type) else str(expected)


def _out_of_range(option: str, value: object) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if option == "dropout":
        return None if 0 <= value < 1 else "at least 0 and below 1"
    if option == "stage":
        return None if value >= 0 else "at least 0"
    # Every other numeric option is a count, a size or a multiplier.
    return None if 0 < value < float("inf") else "positive"
