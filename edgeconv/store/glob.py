"""Shell patterns as regular expressions of PostgreSQL, by the rules of SQLite's GLOB."""

from __future__ import annotations

import re

# A bracket that closes a set at once belongs to the set.
_BODY = r"(\][^\]]*|[^\]]+)"
_TOKEN = re.compile(rf"\[\^{_BODY}\]|\[(?!\^){_BODY}\]|.", re.DOTALL)
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_NOTHING = "(?!)"


def as_regular_expression(pattern: str) -> str:
    """Return an advanced regular expression that matches the whole text, case and all.

    An open bracket that nothing closes matches nothing, as in GLOB.
    """
    parts = []
    for token in _TOKEN.finditer(pattern):
        none_of, one_of = token.groups()
        if none_of is not None:
            parts.append(f"[^{_members(none_of)}]")
        elif one_of is not None:
            parts.append(f"[{_members(one_of)}]")
        elif token[0] == "[":
            return _NOTHING
        else:
            parts.append({"*": ".*", "?": "."}.get(token[0]) or _literal(token[0]))
    return f"^(?:{''.join(parts)})$"


def _members(body: str) -> str:
    """The members of a set, which may hold ranges; a bracket at its beginning begins none."""
    leading = "]" if body.startswith("]") else ""
    parts = [_literal(leading)] if leading else []
    for match in _RANGE.finditer(body, len(leading)):
        first, last, single = match.groups()
        if single is not None:
            parts.append(_literal(single))
        elif first <= last:
            parts.append(f"{_literal(first)}-{_literal(last)}")
        else:  # an empty range: GLOB has its beginning as a member
            parts.append(_literal(first))
    return "".join(parts)


def _literal(character: str) -> str:
    """A character that means itself, in a set and outside of one."""
    if character.isascii() and character.isalnum():
        return character
    return f"\\U{ord(character):08x}"
