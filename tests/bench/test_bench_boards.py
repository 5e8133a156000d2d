"""The next free board of a pool, with measurements that are scripted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.bench import BenchOptions
from edgeconv.cli import bench_boards, evaluate_command, side_by_side
from edgeconv.cli.bench_boards import on_the_next_free, pools_named
from edgeconv.cli.gate_command import command as gate
from edgeconv.device import dispatch
from edgeconv.device.boards import Board, Pool
from edgeconv.errors import BusyDevice, LostConnection, MeasurementError, UsageError
from support.results import made_evaluation, made_model, made_result


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


def test_a_gate_takes_the_next_free_board(
    pool: Pool, pair: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And waits for one as bench does, in its own session."""
    asked: list[str] = []

    def measured(files: list[Path], options: BenchOptions, device: object, show: object) -> object:
        asked.append(str(device))
        if len(asked) < 3:
            raise BusyDevice(f"{device}: another edgeconv is measuring there")
        assert (options.detect, options.repetitions) == (0.03, 6)
        models = [made_model(str(file), [1000] * 6) for file in files]
        return made_result(*models)

    monkeypatch.setattr(side_by_side, "measure", measured)
    monkeypatch.setattr(side_by_side, "open_device", lambda address: address)
    monkeypatch.setattr(side_by_side, "remember", lambda *_: None)
    old, new = map(str, pair)
    more = ["--measure", "--device", "pi", "-q"]
    done = CliRunner().invoke(gate, [new, "--baseline", old, *more, "--wait", "1min"])
    assert done.exit_code == 0, done.output
    assert set(asked) <= {"ssh://one", "ssh://two"}
    assert len(asked) == 3
    asked.clear()
    refused = CliRunner().invoke(gate, [new, "--baseline", old, *more])
    assert isinstance(refused.exception, BusyDevice)
    refused = CliRunner().invoke(gate, [new, "--baseline", old, "--wait", "1min"])
    assert isinstance(refused.exception, UsageError)


@pytest.mark.usefixtures("pool")
def test_an_evaluation_takes_the_next_free_board(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One in use, then one that is lost; emulated boards compute, too."""
    seen: list[str] = []

    @contextmanager
    def place_of(device: str | None) -> Iterator[object]:
        seen.append(device or "")
        if device == "ssh://one":
            raise BusyDevice("ssh://one: another edgeconv is measuring there")
        yield None

    monkeypatch.setattr(evaluate_command, "place_of", place_of)
    evaluated = made_evaluation({"m.onnx": [True] * 9})
    monkeypatch.setattr("edgeconv.export.tasks.evaluate.evaluate", lambda *_, **__: evaluated)
    monkeypatch.setattr("edgeconv.bundle.Bundle.load", lambda path: None)
    for name, second in (("pi", "ssh://two"), ("mixed", "emulated:pi4")):
        seen.clear()
        arguments = [str(tmp_path), "--data", "x", "--device", name, "--no-history", "-q"]
        done = CliRunner().invoke(evaluate_command.command, arguments)
        assert done.exit_code == 0, done.output
        assert (seen[0], seen[-1]) == ("ssh://one", second)
    refused = CliRunner().invoke(
        evaluate_command.command, [str(tmp_path), "--data", "x", "--wait", "1s"]
    )
    assert isinstance(refused.exception, UsageError)
