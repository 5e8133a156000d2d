"""Fields of a request that take a choice as a member of its enum, or as its text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Generic, TypeVar, overload

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean

E = TypeVar("E", bound=Enum)
T = TypeVar("T")


class _Field(Generic[T]):
    """A descriptor that holds its value in the instance, and has a default."""

    def __init__(self, default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:
            return self._default
        value: T = instance.__dict__[self._name]
        return value


class Choice(_Field[E]):
    """A field of a dataclass for one member of an enum; its text will do as well.

    Args:
        kind: The enum.
        default: The default of the field.
    """

    def __init__(self, kind: type[E], default: E) -> None:
        super().__init__(default)
        self._kind = kind

    def __set__(self, instance: Any, value: E | str) -> None:
        instance.__dict__[self._name] = member(self._kind, value, self._name)


class OptionalChoice(_Field[E | None]):
    """A field like :class:`Choice` whose default is None, for what is left open.

    Args:
        kind: The enum.
    """

    def __init__(self, kind: type[E]) -> None:
        super().__init__(None)
        self._kind = kind

    def __set__(self, instance: Any, value: E | str | None) -> None:
        chosen = None if value is None else member(self._kind, value, self._name)
        instance.__dict__[self._name] = chosen


class Choices(Generic[E]):
    """A field of a dataclass for members of an enum, or their texts; None if nothing is chosen.

    Args:
        kind: The enum.
    """

    def __init__(self, kind: type[E]) -> None:
        self._kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> None: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> tuple[E, ...] | None: ...

    def __get__(self, instance: Any, owner: type | None = None) -> tuple[E, ...] | None:
        if instance is None:
            return None
        value: tuple[E, ...] | None = instance.__dict__[self._name]
        return value

    def __set__(self, instance: Any, value: Sequence[E | str] | E | str | None) -> None:
        instance.__dict__[self._name] = self._members(value)

    def _members(self, value: Sequence[E | str] | E | str | None) -> tuple[E, ...] | None:
        if value is None:
            return None
        if isinstance(value, (str, Enum)):
            value = (value,)
        if not isinstance(value, Iterable):
            raise UsageError(
                f"{self._name} is a {type(value).__name__}",
                hint=f"pass a list of {', '.join(repr(each.value) for each in self._kind)}",
            )
        return tuple(member(self._kind, each, self._name) for each in value)


def member(kind: type[E], value: E | str, what: str) -> E:
    """The member of an enum that ``value`` is, or whose text it is.

    Args:
        kind: The enum.
        value: The member or its text, whose case does not count.
        what: What is chosen, for the message.

    Raises:
        UsageError: There is no such member; the hint lists those there are.
    """
    try:
        return kind(value.lower() if type(value) is str else value)
    except ValueError:
        texts = [str(each.value) for each in kind]
        given = str(value).rpartition(".")[2]  # a dtype of PyTorch has its name last
        raise UsageError(
            f"{what}: {value!r} is none of {', '.join(texts)}",
            hint=did_you_mean(given, texts, "pass one of them"),
        ) from None
