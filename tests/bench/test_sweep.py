"""A sweep over threads: a row is a file with a number of threads, from the schedule to the gate."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.bench import BenchOptions, BenchResult, Journal, measure, new_session
from edgeconv.bench.compare.comparison import Limits, Outcome
from edgeconv.bench.compare.latency import compare_latencies
from edgeconv.bench.compare.side_by_side import Sides, compare_side_by_side
from edgeconv.cli.bench_command import command
from edgeconv.cli.values import as_given
from edgeconv.device import Event, RunRequest
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.report.latency import latency_cells
from edgeconv.store.history import History
from edgeconv.store.sqlite import SQLiteFile
from support.results import made_model, made_result
from support.scripted_device import QUICK, Scripted, answer
from support.tiny_models import write_tflite

SWEEP = QUICK.model_copy(update={"threads": (1, 2, 4)})
CALM = [1_000_000, 1_001_000, 999_000, 1_000_500, 999_500, 1_000_000]

pytestmark = pytest.mark.usefixtures("unchecked")


class Threaded(Scripted):
    """Takes 8 µs, divided by the threads; ``b`` twice as long."""

    def __init__(self, breaks_after: int = 1000) -> None:
        super().__init__(self._answer)
        self.threads: list[int] = []
        self._breaks_after = breaks_after

    def _answer(self, index: int, name: str) -> list[Event]:
        ns = 8000 // self.threads[-1] * (2 if name == "b.tflite" else 1)
        return answer([ns] * 4)

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        if len(self.threads) == self._breaks_after:
            raise MeasurementError("scripted: the connection broke")
        self.threads.append(request.threads)
        yield from super().run(request)


def test_one_session_has_every_number_of_threads_in_turns(pair: list[Path]) -> None:
    device = Threaded()
    result = measure(pair, SWEEP, device)
    assert device.threads == [1, 2, 4, 1, 2, 4, 4, 2, 1, 4, 2, 1, 1, 2, 4, 1, 2, 4]
    found = [
        (Path(m.file.name).name, m.threads, round(m.summary.median.value)) for m in result.models
    ]
    assert found == [
        *(("a.tflite", 1, 8000), ("a.tflite", 2, 4000), ("a.tflite", 4, 2000)),
        *(("b.tflite", 1, 16000), ("b.tflite", 2, 8000), ("b.tflite", 4, 4000)),
    ]
    assert result.speedup(3, 2).value == pytest.approx(8.0)
    _, rows = latency_cells(result)
    a, b = map(str, pair)
    assert [row[0] for row in rows] == [
        *(a, f"{a} on 2 threads", f"{a} on 4 threads"),
        *(b, f"{b} on 2 threads", f"{b} on 4 threads"),
    ]


def test_it_is_kept_and_read_back(pair: list[Path], tmp_path: Path) -> None:
    result = measure(pair, SWEEP, Threaded())
    result.save(tmp_path / "r.json")
    assert BenchResult.load(tmp_path / "r.json") == result
    history = History(SQLiteFile(tmp_path / "history.db"))
    history.add(result, None)
    assert [(e.threads, round(e.median_ns or 0)) for e in history.entries()] == [
        *((1, 8000), (2, 4000), (4, 2000), (1, 16000), (2, 8000), (4, 4000)),
    ]


def test_it_is_resumed_where_it_was_cut(pair: list[Path], tmp_path: Path) -> None:
    session = new_session(pair, SWEEP, Threaded().name)
    journal = Journal.create(tmp_path / "j", session)
    with pytest.raises(MeasurementError, match="the connection broke"):
        measure(pair, SWEEP, Threaded(breaks_after=7), journal=journal)
    device = Threaded()
    resumed = measure(pair, SWEEP, device, journal=Journal.open(tmp_path / "j"))
    assert len(device.threads) == 3 * 6 - 7
    whole = measure(pair, SWEEP, Threaded())
    assert [m.samples for m in resumed.models] == [m.samples for m in whole.models]
    other = SWEEP.model_copy(update={"threads": (1, 2)})
    with pytest.raises(UsageError, match="was begun with threads"):
        measure(pair, other, device, journal=Journal.open(tmp_path / "j"))


def test_rows_are_compared_with_the_same_threads(pair: list[Path]) -> None:
    def swept(*factors: float) -> BenchResult:
        counts = (1, 2, 4)[: len(factors)]
        rows = [
            made_model("m.tflite", [round(f * t) for t in CALM]).model_copy(update={"threads": n})
            for n, f in zip(counts, factors, strict=True)
        ]
        return made_result(*rows, options=BenchOptions(threads=counts))

    report = compare_latencies(swept(1, 0.5, 0.25), swept(1, 0.6))
    assert [c.name for c in report.comparisons] == ["m.tflite", "m.tflite on 2 threads"]
    assert [c.change.value for c in report.comparisons] == pytest.approx([1.0, 1.2], rel=1e-4)
    assert report.only_before == ("m.tflite on 4 threads",)
    limits = Limits(0.1)
    assert [c.outcome(limits) for c in report.comparisons][1] is Outcome.FAIL
    # One row of a sweep against a session of that many threads alone.
    alone = made_model("m.tflite", CALM).model_copy(update={"threads": 2})
    one = compare_latencies(
        swept(1, 0.5), made_result(alone, options=BenchOptions(threads=2))
    ).comparisons
    assert [(c.name, round(c.change.value, 3), c.doubts) for c in one] == [
        ("m.tflite on 2 threads", 2.0, ())
    ]


def test_two_sides_in_one_session(pair: list[Path]) -> None:
    sides = Sides.of(pair[:1], pair[1:])
    report = compare_side_by_side(sides, measure(sides.files, SWEEP, Threaded()))
    name = str(pair[1])
    assert [c.name for c in report.comparisons] == [
        *(name, f"{name} on 2 threads", f"{name} on 4 threads"),
    ]
    assert [c.change.value for c in report.comparisons] == pytest.approx([2.0] * 3)


def test_a_result_of_version_2_has_its_options_threads(pair: list[Path], tmp_path: Path) -> None:
    result = measure(pair, QUICK.model_copy(update={"threads": 4}), Threaded())
    older = json.loads(result.model_dump_json()) | {"schema_version": 2}
    for model in older["models"]:
        del model["threads"]
    (tmp_path / "r.json").write_text(json.dumps(older))
    assert [model.threads for model in BenchResult.load(tmp_path / "r.json").models] == [4, 4]


@pytest.mark.parametrize("text", ["0", "1,1", "1,,2", "1,x", "2000", "", "1,²"])
def test_what_is_no_number_of_threads(tmp_path: Path, text: str) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    done = CliRunner().invoke(command, [str(model), "--threads", text])
    assert done.exit_code == 2
    assert "Invalid value for '--threads'" in done.output


@pytest.mark.parametrize("kind", [["--operators"], ["--sustained", "5s"]])
def test_what_measures_one_number_of_threads(tmp_path: Path, kind: list[str]) -> None:
    model = write_tflite(tmp_path / "m.tflite")
    done = CliRunner().invoke(command, [str(model), "--threads", "1,2", *kind])
    assert isinstance(done.exception, UsageError)
    assert done.exception.message == f"{kind[0]} measures one number of threads"


@pytest.mark.parametrize(
    "given", [["--threads", "1,2,4"], ["--threads", "2"], ["--detect", "3%"], ["--seconds", "0.5"]]
)
def test_a_fleet_member_is_asked_what_we_were_asked(given: list[str]) -> None:
    """A value goes to its process as text that means the same."""
    asked = command.make_context("bench", ["m", *given], resilient_parsing=True)
    (parameter,) = (p for p in command.params if given[0] in p.opts)
    assert parameter.name is not None
    value = asked.params[parameter.name]
    again = command.make_context(
        "bench", ["m", given[0], as_given(parameter, value)], resilient_parsing=True
    )
    assert again.params == asked.params
