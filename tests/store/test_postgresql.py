"""The history of a team, on a real server."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, literal, select

from edgeconv.bench.history_run import HistoryRow, HistoryRun
from edgeconv.errors import UsageError
from edgeconv.store.database import Database
from edgeconv.store.history import History
from edgeconv.store.postgresql import PostgreSQL
from edgeconv.store.revision import Revision
from edgeconv.store.schema import MODELS, RUNS, SCHEMA_VERSION
from edgeconv.store.sqlite import SQLiteFile
from support.command_line import CommandLine
from support.postgresql_server import PASSWORD, QUOTED, Server, binaries, running
from support.results import made_counts, made_model, made_result

pytestmark = pytest.mark.slow  # the server takes seconds to be made
pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgresql)")

CALM = [1_000_000, 1_001_000, 999_000]
SLOW = [2 * median for median in CALM]
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    with running(programs) as server:
        yield server


@pytest.fixture
def database(server: Server) -> str:
    """An empty database of this test."""
    name = f"history{next(_NUMBERS)}"
    server.sql(f"CREATE DATABASE {name}")
    return name


@pytest.fixture
def address(server: Server, database: str) -> str:
    return server.address(database)


def test_the_same_as_in_a_file(address: str, tmp_path: Path) -> None:
    """Every query says the same of the same results in both databases."""
    latency = made_result(made_model("a", CALM), made_model("b", SLOW, size=7))
    results = [latency, made_counts({"ü[1]": 12_300_000_000}), made_result(made_model("a", SLOW))]
    histories = [History.at(address), History.at(str(tmp_path / "h.db"))]
    for history in histories:
        assert history.entries() == []
        for result, changed in zip(results, (False, True, True), strict=True):
            history.add(result, Revision("c" * 40, changed=changed))
    server, file = histories
    assert server.entries() == file.entries()
    assert [entry.run for entry in server.entries(pattern="a", limit=1)] == [3]
    assert server.entries(pattern="?[[]1]") == file.entries(pattern="?[[]1]") != []
    assert [server.get(run) for run in (1, 2, 3)] == results
    assert server.of_revision("c" * 40) == file.of_revision("c" * 40)
    assert server.between_sessions("local") == file.between_sessions("local")
    with pytest.raises(UsageError, match="no run 4"):
        server.get(4)


def test_the_commands(address: str, tmp_path: Path, edgeconv: CommandLine) -> None:
    history = History.at(address)
    for times in (CALM, SLOW):
        history.add(made_result(made_model("m", times)), None)
    at = ("--store", address)
    assert json.loads(edgeconv("history", "--json", *at).stdout)["entries"][0]["run"] == 2
    assert "100.0% slower" in edgeconv("compare", 1, 2, *at).stdout
    assert edgeconv("gate", 2, "--baseline", 1, *at).returncode == 1
    page = tmp_path / "page.html"
    assert edgeconv("report", 1, "-o", page, *at).returncode == 0
    assert page.exists()
    for done in (edgeconv("history", *at), edgeconv("history", "--run", 9, *at)):
        assert QUOTED not in done.stdout + done.stderr


def test_writers_at_once_make_the_tables_once(address: str) -> None:
    result = made_result(made_model("a", CALM))
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda _: History.at(address).add(result, None), range(24)))
    assert len(set(runs)) == 24
    assert len(History.at(address).entries()) == 24


WRITER = """
import sys, time
from sqlalchemy import insert
from edgeconv.store.history import History
from edgeconv.store.schema import RUNS
history = History.at(sys.argv[1])
with history._connection() as connection:
    connection.execute(insert(RUNS).values(
        kind="latency", started="", device="", changed=0, result=b""))
    print("written", flush=True)
    time.sleep(600)
"""


def test_a_killed_writer_leaves_nothing(address: str) -> None:
    History.at(address).check()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, address], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    history = History.at(address)
    run = history.add(made_result(made_model("a", CALM)), None)
    assert [entry.run for entry in history.entries()] == [run]


def _fill(history: History, runs: int, files: int) -> None:
    history.check()
    with history._connection() as connection:
        connection.execute(
            insert(RUNS),
            [
                {"kind": "latency", "started": "2026-01-01T00:00:00+00:00", "device": "local",
                 "changed": 0, "result": b""}
                for _ in range(runs)
            ],
        )  # fmt: skip
        numbers = connection.scalars(select(RUNS.c.id)).all()
        connection.execute(
            insert(MODELS),
            [
                {"run": run, "place": place, "name": f"m{place}", "sha256": "0" * 64, "bytes": 1,
                 "runtime": "litert", "threads": 1, "median_ns": 1e6, "low_ns": 9e5,
                 "high_ns": 1.1e6}
                for run in numbers
                for place in range(files)
            ],
        )  # fmt: skip


def test_ten_thousand_files(address: str) -> None:
    history = History.at(address)
    _fill(history, 100, 100)
    assert len(history.entries()) == 10_000
    assert [entry.name for entry in history.entries(limit=1)] == [f"m{i}" for i in range(100)]
    assert {entry.name for entry in history.entries(pattern="m[1-3]")} == {"m1", "m2", "m3"}
    assert history.between_sessions("local").sessions == 5  # the latest 500 files


def test_a_wrong_password(server: Server, database: str) -> None:
    wrong = server.address(database, password="hunter%202")
    with pytest.raises(UsageError, match="password authentication failed") as raised:
        History.at(wrong).entries()
    assert "\n" not in raised.value.message
    assert "hunter" not in str(raised.value)
    assert "~/.pgpass" in raised.value.hint
    assert PASSWORD not in str(raised.value)


def test_a_server_that_is_not_there(edgeconv: CommandLine, tmp_path: Path) -> None:
    address = "postgresql://me:hunter2@127.0.0.1:1/x"
    for command in (("history",), ("compare", 1, 2), ("bench", tmp_path / "m.tflite")):
        done = edgeconv(*command, "--store", address)
        assert done.returncode == 2
        assert done.error.startswith("error: postgresql://me@127.0.0.1:1/x cannot be used as the ")
        assert "hunter2" not in done.stderr + done.stdout


def test_a_connection_that_is_lost(server: Server, database: str) -> None:
    history = History.at(server.address(database))
    history.check()

    def lose() -> None:
        with history._connection() as connection:
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND application_name = 'edgeconv'"
            )
            connection.execute(select(func.now()))

    with pytest.raises(UsageError, match="cannot be used as the history: ") as raised:
        lose()
    assert "\n" not in raised.value.message
    assert history.entries() == []  # and the next one works


def test_a_newer_schema(server: Server, database: str, address: str) -> None:
    history = History.at(address)
    history.check()
    server.sql(f"UPDATE edgeconv_history SET version = {SCHEMA_VERSION + 1}", database)
    with pytest.raises(UsageError, match=rf"schema version {SCHEMA_VERSION + 1}, .* up to"):
        history.entries()


def test_a_user_without_rights(server: Server, database: str) -> None:
    server.sql(f"CREATE ROLE guest{database} LOGIN PASSWORD 'guest'")
    server.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
    guest = server.address(database, user=f"guest{database}", password="guest")
    with pytest.raises(UsageError, match="permission denied") as raised:
        History.at(guest).entries()
    assert "a database of its own" in raised.value.hint
    assert "guest@" not in str(raised.value).replace(f"guest{database}@", "")


@pytest.fixture(scope="module")
def both(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Database]:
    server.sql("CREATE DATABASE patterns")
    file = SQLiteFile(tmp_path_factory.mktemp("patterns") / "h.db")
    return [file, PostgreSQL.at(server.address("patterns"))]


TEXT = st.text(alphabet="ab[]^-*?\\.$ü\n", max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=20, max_size=60))
def test_patterns_mean_the_same(both: list[Database], pairs: list[tuple[str, str]]) -> None:
    """One query for many pairs, with the text taken from each pattern for a part of them."""
    pairs += [(pattern, pattern) for pattern, _ in pairs]
    found = []
    for database in both:
        with History(database)._connection() as connection:
            columns = [database.matches(literal(text), pattern) for pattern, text in pairs]
            found.append([bool(value) for value in connection.execute(select(*columns)).one()])
    assert found[0] == found[1], [
        pair for pair, *two in zip(pairs, *found, strict=True) if two[0] != two[1]
    ]


def test_accuracies_are_kept(address: str, tmp_path: Path) -> None:
    from datetime import datetime, timezone

    result = made_counts({"a": 1})  # what it holds does not matter here
    row = HistoryRow("a", None, 1, "litert", None, figure="top-1", value=0.75, unit="share")
    run = HistoryRun(datetime.now(timezone.utc), "local", (row,))
    for history in (History.at(address), History.at(str(tmp_path / "h.db"))):
        history.add(result, None, run)
        (entry,) = history.entries()
        assert (entry.figure, entry.value, entry.threads) == ("top-1", 0.75, None)
