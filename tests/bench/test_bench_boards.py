"""The next free board of a pool, with measurements that are scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.cli import bench_boards
from edgeconv.cli.bench_boards import on_the_next_free, pools_named
from edgeconv.device import dispatch
from edgeconv.device.boards import Board, Pool
from edgeconv.errors import BusyDevice, LostConnection, MeasurementError, UsageError


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_boards, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(dispatch, "LOOK_AGAIN_SECONDS", 0.02)


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Two boards."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgeconv").mkdir()
    (tmp_path / "edgeconv" / "devices.toml").write_text(
        '[devices]\none = "ssh://one"\ntwo = "ssh://two"\nemulated = "emulated:pi4"\n'
        '[pools]\npi = ["one", "two"]\nmixed = ["one", "emulated"]\n'
    )
    (found,) = pools_named(["pi"])
    return found


def test_the_first_free_board_measures(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    def measure(board: Board) -> str:
        if board.name == "one":
            raise BusyDevice("ssh://one: another edgeconv is measuring there")
        return board.address

    assert on_the_next_free(pool, 0, measure) == "ssh://two"
    assert not caplog.text


def test_a_lost_board_gives_its_measurement_to_another(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    def measure(board: Board) -> str:
        if board.name == "one":
            raise LostConnection("ssh://one: it does not answer", "plug it in")
        return board.address

    assert on_the_next_free(pool, 0, measure) == "ssh://two"
    warning = "ssh://one: it does not answer; another board of pi measures instead"
    assert f"{warning}\nhint: plug it in" in caplog.text


@pytest.mark.parametrize("kind", [UsageError, MeasurementError])
def test_what_fails_everywhere_is_the_last_boards_error(
    pool: Pool, kind: type[MeasurementError]
) -> None:
    def measure(board: Board) -> str:
        raise kind(f"{board.address}: it has 4 cores", "name others")

    with pytest.raises(kind, match=r"^ssh://two: it has 4 cores\nhint: name others$"):
        on_the_next_free(pool, 0, measure)


def test_a_board_in_use_is_waited_for(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def measure(board: Board) -> str:
        asked.append(board.name)
        if len(asked) < 4:
            raise BusyDevice(f"{board.address}: another edgeconv is measuring there")
        return board.address

    assert on_the_next_free(pool, 60, measure) in ("ssh://one", "ssh://two")
    assert set(asked) == {"one", "two"}
    assert "waiting: ssh://two: another edgeconv is measuring there" in caplog.text


def test_it_is_waited_for_with_a_limit(pool: Pool) -> None:
    def measure(board: Board) -> str:
        raise BusyDevice("pi: another edgeconv is measuring there", "wait until it has ended")

    with pytest.raises(BusyDevice, match=r"measuring there \(waited .*s\)\nhint: wait until"):
        on_the_next_free(pool, 0.05, measure)


@pytest.mark.usefixtures("pool")
def test_no_emulated_board_is_in_a_pool() -> None:
    """Its counts are no latencies, and which figure comes out must not depend on who is free."""
    with pytest.raises(UsageError, match="emulated of the pool mixed is emulated"):
        pools_named(["mixed"])
    assert [board.address for board in pools_named(["emulated"])[0].boards] == ["emulated:pi4"]
