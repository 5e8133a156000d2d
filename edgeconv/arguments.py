"""What Python people pass to the classes that they make themselves: refused where it is wrong.

A wrong name or value would otherwise end as a TypeError or AttributeError far from the call.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgeconv.errors import UsageError
from edgeconv.near_names import near_names
from edgeconv.versioned import Record, first_problem, near_hint

C = TypeVar("C")
_NAMES: dict[object, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "None",
}
_SHOWN = 60  # characters of a wrong value


class StatedRecord(Record):
    """A record that users make in Python: a wrong field raises UsageError, with the right ones."""

    if not TYPE_CHECKING:  # type checkers take the arguments from the fields

        def __init__(self, *values: Any, **fields: Any) -> None:
            if values:
                name, known = type(self).__name__, field_names(type(self))
                raise UsageError(
                    f"{name} takes its fields by name", hint=f"it has {', '.join(known)}"
                )
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise _of_record(type(self), error) from None

        # Pydantic then reads documents without it, and reports what is wrong in its own way.
        __init__.__pydantic_base_init__ = True


def _of_record(kind: type[BaseModel], error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    name = kind.__name__
    if first["type"] == "extra_forbidden":
        return unknown_argument(name, str(first["loc"][0]), tuple(kind.model_fields))
    field = kind.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    values = first.get("ctx", {}).get("expected")
    otherwise = f"pass {values}" if values else ""
    if not otherwise and field is not None:
        otherwise = f"its default is {field.default!r}" if not field.is_required() else "pass it"
    return UsageError(f"{name}: {first_problem(error)}", hint=near_hint(error, kind, otherwise))


def checked_arguments(
    *,
    nested: Mapping[str, type] | None = None,
    hints: Mapping[str, str] | None = None,
    called: str | None = None,
) -> Callable[[type[C]], type[C]]:
    """A decorator of a dataclass: wrong names and types of its fields raise UsageError.

    Fields whose types are not known at run time, and descriptors, check themselves. Lists become
    the tuples or sets that fields are, and numbers of NumPy those of Python.

    Args:
        nested: Classes whose fields users may mistake for those of this one, by the field here.
        hints: What to do about a wrong type of a field, where that is more than its type says.
        called: The name of the class in messages; by default its own.
    """

    def decorate(kind: type[C]) -> type[C]:
        _check_arguments(kind, nested or {}, hints or {}, called or kind.__name__)
        return kind

    return decorate


def _check_arguments(
    kind: type[Any], nested: Mapping[str, type], hints: Mapping[str, str], called: str
) -> None:
    """Give a dataclass an ``__init__`` that checks."""
    original = kind.__init__
    types_of = functools.cache(lambda: _types(kind))
    signature = inspect.signature(original)

    @functools.wraps(original)
    def checking(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in signature.parameters:
                raise unknown_argument(called, name, field_names(kind), nested)
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise UsageError(
                f"{called}: {error}", hint=f"help({called}) lists its arguments"
            ) from None
        for name, value in given.arguments.items():
            if name in types_of():
                value = given.arguments[name] = _as_python(value)
                refuse_other_type(called, name, value, types_of()[name], hints.get(name))
                given.arguments[name] = _as_listing(value, types_of()[name])
        original(*given.args, **given.kwargs)

    kind.__init__ = checking


def _as_python(value: Any) -> Any:
    """A number of NumPy as one of Python, also in a tuple or list; manifests hold none of NumPy."""
    if type(value) in (tuple, list):
        return type(value)(map(_as_python, value))
    if isinstance(value, numbers.Real) and type(value).__module__ == "numpy":
        return value.item() if hasattr(value, "item") else value
    return value


def _as_listing(value: Any, hint: Any) -> Any:
    """A list as the tuple or the set that a field is."""
    origin = typing.get_origin(hint)
    return origin(value) if origin in (tuple, frozenset) else value


def _types(kind: type[Any]) -> dict[str, Any]:
    """The types of the fields of a dataclass, as far as they can be known at run time."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        one = type(kind.__name__, (), {"__annotations__": {field.name: field.type}})
        one.__module__ = kind.__module__
        try:
            found |= typing.get_type_hints(one)
        except NameError:  # imported for type checkers only
            continue
    return found


def unknown_argument(
    called: str, name: str, known: Collection[str], nested: Mapping[str, type] | None = None
) -> UsageError:
    """What to say of a keyword that a class or function does not have.

    Args:
        called: The class or function.
        name: The keyword.
        known: Those that there are.
        nested: Classes whose fields the keyword may be meant for, by the keyword that takes them.
    """
    inner = {
        field: f"{outer}={kind.__name__}({field}=…)"
        for outer, kind in (nested or {}).items()
        for field in field_names(kind)
    }
    if name in inner:
        hints = [inner[name]]
    else:
        hints = [f"{each}=…" for each in near_names(name, known)]
        hints = hints or [inner[each] for each in near_names(name, inner)]
    hint = f"did you mean {' or '.join(hints)}?" if hints else f"it has {', '.join(known)}"
    return UsageError(f"{called} has no argument {name!r}", hint=hint)


def field_names(kind: type[Any]) -> list[str]:
    """The names of the fields of a dataclass or a record."""
    if issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return [field.name for field in dataclasses.fields(kind)]


def refuse_other_type(
    called: str, name: str, value: object, hint: Any, remedy: str | None = None
) -> None:
    """Raise UsageError if a value is not of the type that ``hint`` states.

    Args:
        called: What the value was passed to.
        name: The name of the argument.
        value: The value.
        hint: The type.
        remedy: What to do about another type; by default to pass one that fits.
    """
    if fits(value, hint):
        return
    text = repr(value)
    shown = text if len(text) <= _SHOWN else f"of type {type(value).__name__}"
    records = [each for each in _options(hint) if _has_fields(each)]
    if isinstance(value, Mapping) and records:
        kind = records[0].__name__
        given = ", ".join(f"{key}={part!r}" for key, part in value.items())
        raise UsageError(f"{called}: {name} is a dict", hint=f"pass {name}={kind}({given})")
    if remedy is None and fits([value], hint):
        remedy = f"pass {[value]}"
    raise UsageError(f"{called}: {name} is {shown}", hint=remedy or f"pass {described(hint)}")


def fits(value: object, hint: Any) -> bool:
    """Whether a value is of a type, as far as a type can be checked at run time."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if hint is type(None):
        return value is None
    if hint is Any:
        return True
    if hint in (int, float):  # manifests hold no numbers of NumPy or PyTorch
        number = int if hint is int else (int, float)
        return isinstance(value, number) and not isinstance(value, bool)
    if origin in (Sequence, tuple, frozenset):
        return _is_listing(value, origin) and all(fits(each, inner[0]) for each in _items(value))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            fits(key, inner[0]) and fits(each, inner[1]) for key, each in value.items()
        )
    if origin is Callable or hint is Callable:
        return callable(value)
    return not isinstance(hint, type) or isinstance(value, hint)


def _is_listing(value: object, origin: Any) -> bool:
    if isinstance(value, (str, bytes, Mapping)):
        return False
    return isinstance(value, (frozenset, set, Sequence) if origin is frozenset else Sequence)


def _items(value: object) -> Iterable[Any]:
    assert isinstance(value, Iterable)
    return value


def _options(hint: Any) -> Sequence[Any]:
    """The types that a union allows; otherwise the type itself."""
    origin = typing.get_origin(hint)
    return typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)


def _has_fields(kind: Any) -> bool:
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel)
    )


def described(hint: Any) -> str:
    """A type in words, as in "a text or a path"."""
    return " or ".join(_described(each) for each in _options(hint) if each is not type(None))


def _described(hint: Any) -> str:
    if hint in _NAMES:
        return _NAMES[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Sequence, tuple, frozenset):
        kind = "a set" if origin is frozenset else "a list"
        return f"{kind} with {described(inner[0])} for each item"
    if origin is Mapping:
        return f"a dict from {described(inner[0])} to {described(inner[1])}"
    if origin is Callable or hint is Callable:
        return "a function"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "one of " + ", ".join(str(each.value) for each in hint)
    if _has_fields(hint):
        return f"{hint.__name__}({', '.join(f'{name}=…' for name in field_names(hint))})"
    return f"an object of type {getattr(hint, '__name__', hint)}"
