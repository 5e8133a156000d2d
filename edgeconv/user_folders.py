"""Where the user's files lie, by the XDG Base Directory Specification or as macOS has it.

The folders are those of platformdirs; a package for three paths would be a dependency.

Variables that are empty or hold a relative path are ignored, as the specification has it. A HOME
of that kind is ignored, too: the home folder is then that of the password database, as it is
without HOME.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from edgeconv.errors import UsageError

SUPPORT = "Library/Application Support"


def stated_path(text: str) -> Path:
    """A path as a file or a variable states it: a leading ``~`` is a home folder, as in a shell.

    Raises:
        UsageError: There is no such home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"{text}: there is no such home folder", hint="write the whole path"
        ) from error


def config_folder() -> Path:
    """Return ``edgeconv`` in the folder of configuration (XDG_CONFIG_HOME or ``~/.config``)."""
    return _folder("XDG_CONFIG_HOME", ".config", macos=SUPPORT)


def cache_folder() -> Path:
    """Return ``edgeconv`` in the folder of caches (XDG_CACHE_HOME or ``~/.cache``)."""
    return _folder("XDG_CACHE_HOME", ".cache", macos="Library/Caches")


def state_folder() -> Path:
    """Return ``edgeconv`` in the folder of state (XDG_STATE_HOME or ``~/.local/state``)."""
    return _folder("XDG_STATE_HOME", ".local/state", macos=SUPPORT)


def _folder(variable: str, default: str, *, macos: str) -> Path:
    named = Path(os.environ.get(variable, ""))
    if sys.platform == "darwin":
        default = macos
    return (named if named.is_absolute() else _home(variable) / default) / "edgeconv"


def _home(variable: str) -> Path:
    named = Path(os.environ.get("HOME", ""))
    if named.is_absolute():
        return named
    try:
        of_account = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # an account that the system does not know, as in containers
        of_account = Path()
    if not of_account.is_absolute():
        raise UsageError(
            "there is no home folder: HOME is not set, or not an absolute path",
            hint=f"set HOME or {variable} to the absolute path of a folder",
        )
    return of_account
