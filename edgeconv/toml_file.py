"""Reads TOML files that a user wrote."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from edgeconv.errors import UsageError
from edgeconv.near_names import near_paths

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path, *, hint: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        hint: What to do if it cannot be read.

    Raises:
        UsageError: There is no such file, it is not TOML, or a text in it holds a NUL character,
            which no name of a file or network has.
    """
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint=near_paths(path, hint)
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path} is not TOML: it nests too deeply", hint=hint) from error
    except ValueError as error:  # not UTF-8, not TOML, or a number of too many digits
        raise UsageError(f"{path} is not TOML: {error}", hint=hint) from error
    if _holds_nul(content):
        raise UsageError(f"{path} holds a NUL character in a text", hint="remove it")
    return content


def _holds_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value
