"""What ``--store`` takes, and what it refuses without ever showing a password."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeconv.errors import UsageError
from edgeconv.store.history import History
from edgeconv.store.postgresql import PostgreSQL
from support.command_line import CommandLine
from support.results import made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hunter2@host@other/db",  # an @ in the password that is not quoted
        "postgresql://me:hunter2@host:port/db",
        "postgresql:hunter2",
        "mysql://me:hunter2@host/db",
        "postgresql+asyncpg://me:hunter2@host/db",
        "",
    ],
)
def test_what_is_no_address(address: str, edgeconv: CommandLine) -> None:
    with pytest.raises(UsageError, match="is n"):
        History.at(address)
    done = edgeconv("compare", 1, 2, "--store", address)
    assert done.returncode == 2
    assert "hunter2" not in done.error + done.stderr


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgres://me:hunter2@host:99/db", "postgresql://me@host:99/db"),
        ("postgresql://host/db?password=hunter2&user=me", "postgresql://host/db"),
        ("postgresql:///db?host=/run/postgresql", "postgresql:///db"),
    ],
)
def test_no_password_is_shown(address: str, shown: str) -> None:
    database = PostgreSQL.at(address)
    assert str(database) == shown
    assert "hunter2" not in repr(database)
    if "hunter2" in address:
        error = database.unusable(OSError("the driver says hunter2"))
        assert "the driver says ***" in str(error)


def test_without_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # importing it fails
    with pytest.raises(UsageError, match=r"needs psycopg.*\nhint: pip install 'edgeconv\[post"):
        History.at("postgresql://me@host/db").entries()


def test_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edgeconv: CommandLine
) -> None:
    History.at(str(tmp_path / "a.db")).add(made_result(made_model("one", CALM)), None)
    assert "one" in edgeconv("history", "--store", tmp_path / "a.db").stdout
    assert "nothing was measured" in edgeconv("history").stderr
    monkeypatch.setenv("EDGECONV_STORE", str(tmp_path / "a.db"))
    assert "one" in edgeconv("history").stdout
