"""Defaults of options from ``[tool.edgeconv]`` of the user's ``pyproject.toml``.

The file may be that of a repository that someone else wrote, so it states values of options and
nothing that runs code, reaches another machine or writes outside its own folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean

NAME = "pyproject.toml"
_META = "edgeconv.user_defaults"
_HINT = "mend the file, or pass --no-config"
# A colon makes a value run code (file.py:function, local:PYTHON) or reach another machine
# (ssh://host), but in these options and in emulated:BOARD.
_PLAIN_COLON = {"inputs", "about", "name", "title"}
_EMULATED = re.compile(r"emulated:[\w-]+")
# --json is looked for on the command line; a cluster's scheduler sends code to its workers.
_NEVER = {"as_json": "it changes what programs read", "scheduler": "it names another machine"}
_WRITTEN = {"out", "page", "plot", "markdown", "junit", "svg", "html", "cache", "store", "export"}


@dataclass(frozen=True)
class UserDefaults:
    """What a file states.

    Attributes:
        path: The ``pyproject.toml``.
        table: The content of ``[tool.edgeconv]``.
    """

    path: Path
    table: Mapping[str, Any]


def find(start: Path) -> UserDefaults | None:
    """Find the nearest ``[tool.edgeconv]`` from a folder up to the root of its repository.

    A ``pyproject.toml`` without that table is passed over. Outside of a repository only ``start``
    itself is looked at: a folder above it may be writable by others.

    Raises:
        UsageError: A ``pyproject.toml`` on the way cannot be read.
    """
    for folder in _folders(start.absolute()):
        path = folder / NAME
        if path.is_file():
            from edgeconv.toml_file import read_toml

            tool = read_toml(path, hint=_HINT).get("tool", {})
            if isinstance(tool, dict) and "edgeconv" in tool:
                table = tool["edgeconv"]
                if not isinstance(table, dict):
                    raise UsageError(f"{path}: tool.edgeconv is not a table", hint=_HINT)
                return UserDefaults(path, table)
    return None


def _folders(start: Path) -> Iterator[Path]:
    above = (start, *start.parents)
    root = next((folder for folder in above if (folder / ".git").exists()), start)
    yield from above[: above.index(root) + 1]


def apply(ctx: click.Context, group: click.Group, name: str) -> None:
    """Give the command ``name`` of ``group`` the defaults that the file states for it.

    Raises:
        UsageError: The file has an unknown key, or a value that no file may state.
    """
    found = find(Path.cwd())
    if found is None:
        return
    _check_keys(found.path, "tool.edgeconv", found.table, group.list_commands(ctx))
    command = group.get_command(ctx, name)
    if command is not None and name in found.table:
        where = f"tool.edgeconv.{name}"
        ctx.default_map = {name: _defaults(found.path, where, found.table[name], command, ctx)}
        ctx.meta[_META] = found


def _check_keys(path: Path, where: str, table: object, known: list[str]) -> None:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {where} is not a table", hint=_HINT)
    for key in table:
        if key not in known:
            raise UsageError(
                f"{path}: {where} has an unknown key {key!r}",
                hint=did_you_mean(key, known, f"the keys are {', '.join(known)}"),
            )


def _defaults(
    path: Path, where: str, table: Any, command: click.Command, ctx: click.Context
) -> dict[str, Any]:
    """The table of one command as click takes it."""
    options = {option.removeprefix("--"): p for p in command.params for option in _long(p)}
    groups = command.commands if isinstance(command, click.Group) else {}
    _check_keys(path, where, table, [*options, *groups])
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in groups:
            values[key] = _defaults(path, f"{where}.{key}", value, groups[key], ctx)
        else:
            values[str(options[key].name)] = _value(path, f"{where}.{key}", value, options[key])
    return values


def _long(parameter: click.Parameter) -> list[str]:
    is_option = isinstance(parameter, click.Option)
    return [text for text in parameter.opts if text.startswith("--")] if is_option else []


def _value(path: Path, where: str, value: Any, option: click.Parameter) -> Any:
    """A value as click takes it: true or false for a flag, else text, or a list of texts."""
    assert isinstance(option, click.Option)
    name = str(option.name)
    if name in _NEVER:
        raise UsageError(
            f"{path}: {where} cannot be set in a file: {_NEVER[name]}",
            hint="give it on the command line",
        )
    if option.is_flag and not isinstance(option.flag_value, str):
        if not isinstance(value, bool):
            raise UsageError(f"{path}: {where} is true or false, not {value!r}", hint=_HINT)
        return value
    if not (option.multiple or option.nargs > 1):
        return _text(path, where, value, option)
    listed = value if isinstance(value, list) else [value]
    return [_text(path, where, each, option) for each in listed]


def _text(path: Path, where: str, value: object, option: click.Option) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{path}: {where} is a text or a number, not {value!r}", hint=_HINT)
    text = str(value)
    harmless = str(option.name) in _PLAIN_COLON or _EMULATED.fullmatch(text)
    if ":" in text and not harmless:
        raise UsageError(
            f"{path}: {where} cannot be {text!r} in a file, which may run code or reach another "
            "machine",
            hint="give it on the command line, or name the device in devices.toml",
        )
    folder = path.parent
    if str(option.name) in _WRITTEN:
        return _inside(path, where, folder, text)
    # Paths are relative to the file that states them, wherever the command is run.
    is_path = isinstance(option.type, click.Path)
    named = is_path or any(word in (option.metavar or "") for word in ("FILE", "PATH"))
    return os.fspath(folder / text) if is_path or (named and (folder / text).exists()) else text


def _inside(path: Path, where: str, folder: Path, text: str) -> str:
    """A path to write to, which stays in the folder of the file, links followed."""
    if text == "-":
        return text
    target = (folder / text).resolve()
    if folder.resolve() not in target.parents:
        raise UsageError(
            f"{path}: {where} leads out of the folder of the file: {text}",
            hint="give it on the command line",
        )
    return os.fspath(target)


def announce(ctx: click.Context) -> None:
    """Say in one line on standard error which options have their value from the file."""
    found = ctx.meta.get(_META)
    taken = [
        f"{option.opts[0]} {_shown((ctx.default_map or {}).get(str(option.name)))}"
        for option in ctx.command.params
        if ctx.get_parameter_source(str(option.name)) is ParameterSource.DEFAULT_MAP
    ]
    if found is not None and taken and not ctx.params.get("quiet"):
        from edgeconv.report.output import echo_line

        echo_line(f"note: from {found.path}: {', '.join(taken)}", err=True)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def with_source(error: click.BadParameter, ctx: click.Context) -> click.BadParameter:
    """The error; one about a value that the file states names the file."""
    found = ctx.meta.get(_META)
    name = error.param.name if error.param is not None else None
    source = None if name is None else ctx.get_parameter_source(name)
    if found is None or source is not ParameterSource.DEFAULT_MAP:
        return error
    message = f"{error.message.rstrip('.')} (stated in {found.path})"
    return click.BadParameter(message, ctx=ctx, param=error.param)
