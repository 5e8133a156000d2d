"""Where the user's files lie, whatever the environment says."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from edgeconv import user_folders
from edgeconv.device.names import named_devices, pools
from edgeconv.errors import UsageError
from edgeconv.store.history import History
from edgeconv.store.location import default_path
from edgeconv.user_folders import cache_folder, config_folder, state_folder, stated_path


@pytest.mark.parametrize("stated", ["", "state"])
def test_a_relative_or_empty_folder_is_ignored(
    stated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the XDG specification says; it would depend on where the program is started."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_STATE_HOME", stated)
    assert state_folder() == Path("/home/ada/.local/state/edgeconv")
    monkeypatch.setenv("XDG_STATE_HOME", "/states")
    assert state_folder() == Path("/states/edgeconv")


def test_folders_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """As platformdirs has them."""
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("HOME", "/Users/ada")
    for variable in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    support = Path("/Users/ada/Library/Application Support/edgeconv")
    assert config_folder() == state_folder() == support
    assert cache_folder() == Path("/Users/ada/Library/Caches/edgeconv")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/edgeconv")


@pytest.mark.parametrize("home", ["", "here", "~", None])
def test_a_home_that_is_no_folder_is_that_of_the_account(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one once stood for the root of the file system."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME") if home is None else monkeypatch.setenv("HOME", home)
    assert cache_folder() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache/edgeconv"


def test_a_tilde_is_a_home_folder_where_no_shell_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a variable of a service, or after a colon."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("EDGECONV_HISTORY", "~/history.db")
    assert default_path() == Path("/home/ada/history.db")
    assert str(History.at("~/other.db").database) == "/home/ada/other.db"
    with pytest.raises(UsageError, match="~nobody-of-that-name/x: there is no such home folder"):
        stated_path("~nobody-of-that-name/x")


def test_an_account_without_a_home_has_no_names_of_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in containers that run as a number; whoever writes there learns what to set."""
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(user_folders.os, "getuid", lambda: 2**31 - 5)
    with pytest.raises(UsageError, match=r"no home folder.*\nhint: set HOME or XDG_CONFIG_HOME"):
        config_folder()
    assert (named_devices(), pools()) == ({}, {})
