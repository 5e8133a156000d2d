"""What click parsed, as one frozen, typed object per command."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

S = TypeVar("S")


def takes(kind: type[S]) -> Callable[[Callable[[S], None]], Callable[..., None]]:
    """Call a command with one object of ``kind``, instead of with a keyword per parameter.

    Each parameter of the command fills the field of its name. A field that is a dataclass itself
    is a group: it is filled with the remaining parameters that its own fields are named after. So
    a group such as :class:`edgeconv.export.request.ExportRequest` needs no list of its options.
    """

    def decorate(function: Callable[[S], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def called(**parameters: object) -> None:
            function(fill(kind, parameters))

        return called

    return decorate


def fill(kind: type[S], parameters: Mapping[str, object]) -> S:
    """Make an object of ``kind`` from a command's parameters.

    Raises:
        TypeError: A parameter has no field, or a field without a default has no parameter.
    """
    rest = dict(parameters)
    groups = groups_of(kind)
    values = _take(kind, rest)
    values |= {name: group(**_take(group, rest)) for name, group in groups.items()}
    if rest:
        raise TypeError(f"{kind.__name__} has no field for {', '.join(rest)}")
    return kind(**values)


def groups_of(kind: type[Any]) -> dict[str, type[Any]]:
    """The fields of ``kind`` that are dataclasses themselves, with their types."""
    hints = typing.get_type_hints(kind)
    return {name: hint for name, hint in hints.items() if _is_group(hint)}


def _take(kind: type[Any], parameters: dict[str, object]) -> dict[str, Any]:
    """Take the parameters that are named as the fields of ``kind``."""
    names = [field.name for field in dataclasses.fields(kind)]
    return {name: parameters.pop(name) for name in names if name in parameters}


def _is_group(hint: object) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)
