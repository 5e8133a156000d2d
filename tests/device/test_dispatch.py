"""Which board measures what, and when: on a clock that the tests move."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.device.boards import Board, Pool
from edgeconv.device.dispatch import LOOK_AGAIN_SECONDS, Dispatcher, Failure, Measurement

BUSY = Failure("another edgeconv is measuring there", busy=True)
LOST = Failure("it does not answer")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pool_of(*addresses: str, name: str = "pool") -> Pool:
    pool = Pool(name, [Board(address, address) for address in addresses])
    pool.admit_all()
    return pool


def only(boards: Dispatcher[str]) -> tuple[Measurement[str], Board]:
    (started,) = boards.start()
    return started


def test_a_board_measures_one_thing_at_a_time(clock: Clock) -> None:
    boards, pool = Dispatcher[str](0, clock), pool_of("one", "two")
    for what in ("a", "b", "c"):
        boards.add(Measurement(what, pool))
    started = list(boards.start())
    assert [(m.what, board.name) for m, board in started] == [("a", "one"), ("b", "two")]
    assert not list(boards.start())
    measurement, board = started[1]
    assert boards.ended(measurement, board, None) is None
    measurement, board = only(boards)
    assert (measurement.what, board.name) == ("c", "two")
    assert len(boards) == 0


def test_a_board_of_two_pools_is_one_board(clock: Clock) -> None:
    boards, alone = Dispatcher[str](0, clock), pool_of("one")
    boards.add(Measurement("a", alone))
    boards.add(Measurement("b", Pool("both", [*alone.boards], {"one"})))
    only(boards)
    assert [each.what for each in boards.waiting] == ["b"]


def test_without_a_limit_a_board_in_use_is_refused_at_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    boards = Dispatcher[str](0, clock)
    boards.add(Measurement("a", pool_of("one")))
    assert boards.ended(*only(boards), BUSY) == BUSY
    assert len(boards) == 0
    assert not caplog.text


def test_another_board_of_the_pool_is_taken_before_one_is_waited_for(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also without a limit: it counts while others use all boards."""
    boards = Dispatcher[str](0, clock)
    boards.add(Measurement("a", pool_of("one", "two")))
    assert boards.ended(*only(boards), BUSY) is None
    measurement, board = only(boards)
    assert board.name == "two"
    assert not caplog.text
    assert boards.ended(measurement, board, BUSY) == BUSY


def test_a_slow_machine_asks_every_board(clock: Clock) -> None:
    """Also where the first one's rest is over before the second one's turn comes."""
    boards, asked = Dispatcher[str](100, clock), []
    boards.add(Measurement("a", pool_of("one", "two")))
    for _ in range(4):
        measurement, board = only(boards)
        asked.append(board.name)
        boards.ended(measurement, board, BUSY)
        clock.now += 2 * LOOK_AGAIN_SECONDS
    assert asked == ["one", "two", "one", "two"]


def test_a_board_in_use_is_asked_again_until_the_limit(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    boards, asked = Dispatcher[str](3 * LOOK_AGAIN_SECONDS, clock), []
    boards.add(Measurement("a", pool_of("one")))
    final = None
    while final is None:
        for measurement, board in boards.start():
            asked.append(clock.now)
            final = boards.ended(measurement, board, BUSY)
        clock.now += 1
    assert asked == [100.0 + index * LOOK_AGAIN_SECONDS for index in range(4)]
    assert final.message == "another edgeconv is measuring there (waited 15.0 s)"
    assert final.busy
    assert caplog.text.count("waiting: another edgeconv is measuring there") == 1


def test_the_limit_is_not_for_boards_that_we_use(clock: Clock) -> None:
    boards, pool = Dispatcher[str](10, clock), pool_of("one", "two")
    for what in ("a", "b"):
        boards.add(Measurement(what, pool))
    ours, others = boards.start()
    for _ in range(5):  # the second board stays in use, the first one is ours
        assert boards.ended(*others, BUSY) is None
        clock.now += LOOK_AGAIN_SECONDS
        others = only(boards)
        assert others[1].name == "two"
    assert boards.ended(*others, BUSY) is None
    boards.ended(*ours, None)
    assert only(boards)[1].name == "one"


def test_what_fails_is_tried_on_every_board_once(clock: Clock) -> None:
    boards, tried, final = Dispatcher[str](0, clock), [], None
    boards.add(Measurement("a", pool_of("one", "two", "three")))
    while final is None:
        measurement, board = only(boards)
        tried.append(board.name)
        final = boards.ended(measurement, board, Failure(f"{board.name}: it does not answer"))
    assert tried == ["one", "two", "three"]
    assert final.message == "three: it does not answer"


def test_this_machine_measures_one_thing_at_a_time(clock: Clock) -> None:
    """Two Pythons of it are one machine, which others would disturb."""
    boards = Dispatcher[str](0, clock)
    for address in ("local", "local:/other/python", "ssh://pi"):
        boards.add(Measurement(address, pool_of(address)))
    started = list(boards.start())
    assert [measurement.what for measurement, _ in started] == ["local", "ssh://pi"]
    boards.ended(*started[0], None)
    assert only(boards)[0].what == "local:/other/python"


def test_this_machine_measures_itself_only_when_it_is_quiet(clock: Clock) -> None:
    boards = Dispatcher[str](0, clock)
    boards.add(Measurement("a", pool_of("local")))
    assert not list(boards.start(lambda: False))
    assert only(boards)[0].what == "a"


def test_nothing_waits_for_boards_that_were_set_aside(clock: Clock) -> None:
    boards, pool = Dispatcher[str](0, clock), pool_of("one", "two")
    boards.add(Measurement("a", pool))
    pool.set_aside(["one"])
    assert boards.without_board() == []
    pool.set_aside(["two"])
    assert [each.what for each in boards.without_board()] == ["a"]
    assert len(boards) == 0


OUTCOMES = st.sampled_from([None, BUSY, LOST])


@given(
    pools=st.lists(st.sets(st.sampled_from("abcd"), min_size=1), min_size=1, max_size=6),
    wait_seconds=st.sampled_from([0.0, 12.0]),
    data=st.data(),
)
def test_everything_ends_once_whatever_happens(
    pools: list[set[str]], wait_seconds: float, data: st.DataObject
) -> None:
    """No board does two things at a time, and a failure is tried on no board twice."""
    clock = Clock()
    boards, names = Dispatcher[int](wait_seconds, clock), {n: Board(n, n) for n in "abcd"}
    for what, members in enumerate(pools):
        pool = Pool(str(what), [names[name] for name in sorted(members)])
        pool.admit_all()
        boards.add(Measurement(what, pool))
    running: list[tuple[Measurement[int], Board]] = []
    ended: list[int] = []
    lost: set[tuple[int, str]] = set()
    while boards or running:
        running += boards.start()
        taken = [board.name for _, board in running]
        assert len(set(taken)) == len(taken)
        clock.now += 1
        if running:
            place = data.draw(st.integers(0, len(running) - 1))
            measurement, board = running.pop(place)
            outcome = data.draw(OUTCOMES) if clock.now < 200 else None
            if outcome is LOST:
                assert (measurement.what, board.name) not in lost
                lost.add((measurement.what, board.name))
            final = boards.ended(measurement, board, outcome)
            if outcome is None or final is not None:
                ended.append(measurement.what)
    assert sorted(ended) == list(range(len(pools)))
