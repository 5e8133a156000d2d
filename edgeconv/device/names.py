"""The user's own names for devices: ``devices.toml`` in the configuration folder.

[devices]
kitchen = "ssh://pi@10.0.0.7/home/pi/.local/share/edgeconv/runtimes/bin/python3"
lab = "ssh://pi@10.0.0.8"

[pools]
pi5 = ["kitchen", "lab"]
"""

from __future__ import annotations

import re
from pathlib import Path

from edgeconv.errors import UsageError
from edgeconv.near_names import did_you_mean
from edgeconv.toml_file import read_toml
from edgeconv.user_folders import config_folder

NAME = re.compile(r"[\w][\w.-]*")
EXAMPLE = 'lines such as pi = "ssh://pi@host"'
FORMS = "local, local:/path/to/python, ssh://user@host or emulated:pi4"
ADDRESS = re.compile(r"local(:.+)?|(ssh|emulated):.+")


def names_path() -> Path:
    """Return the path of ``devices.toml``, whether the file is there or not."""
    return config_folder() / "devices.toml"


def _existing() -> Path | None:
    """The path of ``devices.toml``, if there is one."""
    try:
        path = names_path()
    except UsageError:  # there is no home folder
        return None
    return path if path.exists() else None


def named_devices() -> dict[str, str]:
    """Return addresses by name, in the order of the file; none if there is no file.

    Raises:
        UsageError: The file is not what it should be.
    """
    path = _existing()
    if path is None:
        return {}
    content = read_toml(path, hint=f"write [devices] and {EXAMPLE}")
    table = content.pop("devices", {})
    content.pop("pools", None)
    if content:
        raise UsageError(
            f"{path}: {', '.join(map(repr, content))} must stand below [devices]",
            hint=f"write [devices] and {EXAMPLE}",
        )
    if not isinstance(table, dict):
        raise UsageError(f"{path}: devices is not a table", hint=f"write [devices] and {EXAMPLE}")
    for name, address in table.items():
        if not NAME.fullmatch(name) or name == "local" or not isinstance(address, str):
            raise UsageError(
                f"{path}: {name!r} is not a name with an address",
                hint=f"write {EXAMPLE}; a name has letters, digits, dots and dashes",
            )
        if not ADDRESS.fullmatch(address):
            raise UsageError(
                f"{path}: {name} is {address!r}, which is not an address", hint=f"write {FORMS}"
            )
    return table


def pools() -> dict[str, tuple[str, ...]]:
    """Return the devices of each pool: boards of one kind, of which any will do.

    Raises:
        UsageError: The file is not what it should be.
    """
    path, hint = _existing(), 'write lines such as pi5 = ["kitchen", "lab"] below [pools]'
    if path is None:
        return {}
    named = named_devices()
    table = read_toml(path, hint=hint).get("pools", {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: pools is not a table", hint=hint)
    for pool, members in table.items():
        if not isinstance(members, list) or not members:
            raise UsageError(f"{path}: the pool {pool} is not a list of devices", hint=hint)
        if pool in named or not NAME.fullmatch(pool) or pool == "local":
            raise UsageError(f"{path}: {pool!r} cannot name a pool", hint="choose another name")
        for member in members:
            if not isinstance(member, str) or member not in named or members.count(member) > 1:
                raise UsageError(
                    f"{path}: the pool {pool} has {member!r}, which is no device of [devices] or "
                    "there twice",
                    hint=hint,
                )
    return {pool: tuple(members) for pool, members in table.items()}


def members_of(device: str) -> tuple[str, ...]:
    """Return the devices of a pool; any other name stands for itself.

    Raises:
        UsageError: The file is not what it should be.
    """
    return (device,) if _is_address(device) else pools().get(device, (device,))


def address_of(device: str) -> str:
    """Return the address of a named device; anything else is returned as it is.

    Raises:
        UsageError: There is no device of that name.
    """
    if _is_address(device):
        return device
    named = named_devices()
    if members := pools().get(device):
        raise UsageError(f"{device} is a pool", hint=f"name one of {', '.join(members)}")
    if device not in named:
        known = f"{names_path()} has {', '.join(named)}" if named else f"{names_path()} has none"
        names = ["local", *named, *pools()]
        hint = did_you_mean(device, names, f"use {FORMS}, or a name ({known})")
        raise UsageError(f"no device {device!r}", hint=hint)
    return named[device]


def _is_address(device: str) -> bool:
    return device == "local" or ":" in device
