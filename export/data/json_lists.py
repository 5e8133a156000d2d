"""Lists in a JSON document, read an item at a time.

Parsed as a whole, a document takes ten times its bytes, and most of COCO's are outlines that no one
asks for. Here only what is made of each item stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")


def read_lists(text: str, made: Mapping[str, Callable[[Any], Any]]) -> dict[str, list[Any]]:
    """What is made of the items of some lists of a JSON object; the rest is parsed and dropped.

    Args:
        text: The JSON.
        made: The names of the lists, and what to make of an item of each.

    Raises:
        ValueError: The text is not a JSON object, a list is not there or is not a list, or nothing
            could be made of an item. The message says where.
    """
    found: dict[str, list[Any]] = {}
    reader = _Reader(text)
    reader.open("{}")
    while reader.after != "}":
        name = reader.value()
        reader.expect(":")
        make = made.get(name) if isinstance(name, str) else None
        if make is None:
            reader.value()
        else:
            found[name] = reader.items(name, make)
        reader.expect(",}")
    reader.expect_end()
    missing = next((name for name in made if name not in found), None)
    if missing is not None:
        raise ValueError(f"{missing}: it is missing")
    return found


class _Reader:
    """A place in a JSON text.

    Attributes:
        after: The sign that was expected, and found, last.
    """

    def __init__(self, text: str) -> None:
        self._text, self._at, self.after = text, 0, ""
        self._decode = json.JSONDecoder().raw_decode

    def expect(self, signs: str) -> None:
        """Pass one of some signs."""
        self._pass_space()
        self.after = self._text[self._at : self._at + 1]
        if not self.after or self.after not in signs:
            wanted = " or ".join(signs)
            raise json.JSONDecodeError(f"{wanted} is missing", self._text, self._at)
        self._at += 1

    def open(self, signs: str) -> None:
        """Pass the first of two signs, and the second one if it comes next."""
        self.expect(signs[0])
        self._pass_space()
        if self._text.startswith(signs[1], self._at):
            self.expect(signs[1])

    def expect_end(self) -> None:
        self._pass_space()
        if self._at < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._at)

    def value(self) -> Any:
        """Parse the next value, whatever it is."""
        self._pass_space()
        try:
            found, self._at = self._decode(self._text, self._at)
        except RecursionError as error:
            raise ValueError("lists or objects within each other are too deep") from error
        return found

    def items(self, name: str, make: Callable[[Any], Any]) -> list[Any]:
        """Parse a list, and return what is made of its items."""
        found: list[Any] = []
        self.open("[]")
        while self.after != "]":
            item = self.value()
            try:
                found.append(make(item))
            except ValueError as error:
                raise ValueError(f"{name}.{len(found)}.{error}") from error
            self.expect(",]")
        return found

    def _pass_space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()
