"""``--together`` and ``--end-to-end`` are repeated, kept and continued as plain latencies are."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from edgeconv.bench import BenchOptions, Journal, measure, new_session
from edgeconv.bench.check import Checked
from edgeconv.bench.end_to_end import EndToEndResult, measure_end_to_end, measures
from edgeconv.bench.journal import LATENCY, Measures
from edgeconv.bench.together import MEASURES, TogetherResult, measure_together
from edgeconv.cli import bench_session
from edgeconv.device import Event, RunRequest
from edgeconv.device.messages import EVENT
from edgeconv.errors import MeasurementError, UsageError
from support.scripted_device import QUICK, Scripted, answer, conditions

FRAME = (64, 48)
END_TO_END = measures(FRAME)
CALM = [1_000_000, 1_000_000]
BUSY = conditions(own_cpu_seconds=2.0, all_cpu_seconds=103.0)
STEPS = dict.fromkeys(("frame", "preparation", "input", "inference", "output", "answer"), 5)
HOT = conditions(own_cpu_seconds=2.0, all_cpu_seconds=103.0, temperature_c=95.0)
Answers = Callable[[int], list[Event]]


class Device(Scripted):
    """Says what the function of the number of the measured process says; others never end."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(lambda index, name: answers(index))

    def remove(self, files: list[Path]) -> None:
        pass

    def run(self, request: RunRequest) -> Generator[Event, None, None]:
        if request.min_seconds > 100:
            while True:
                yield EVENT.validate_python({"event": "samples", "ns": [5]})
        said = list(super().run(request))
        if request.script is not None:
            said.insert(-1, EVENT.validate_python({"event": "steps", **STEPS}))
        yield from said


def kinds_of(
    asked: Measures, files: list[Path], options: BenchOptions, device: Device, journal: Journal
) -> TogetherResult | EndToEndResult:
    """Measure what was asked."""
    if asked is MEASURES:
        return measure_together(files, options, device, journal=journal)
    return measure_end_to_end(files, options, FRAME, device, journal=journal)


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch, unchecked: None) -> None:
    """A scripted device computes nothing, and its files lie in no bundle."""
    monkeypatch.setattr("edgeconv.bench.end_to_end._script", lambda path: "")
    monkeypatch.setattr(
        "edgeconv.bench.together.check_models",
        lambda models, *_: [Checked(None, None, None)] * len(models),
    )
    monkeypatch.setattr("edgeconv.bench.processes.time.sleep", lambda seconds: None)


@pytest.mark.parametrize("asked", [MEASURES, END_TO_END])
def test_a_disturbed_process_is_repeated(asked: Measures, pair: list[Path]) -> None:
    options = QUICK.model_copy(update={"retries": 1, "repetitions": 2})
    device = Device(lambda index: answer(CALM, after=BUSY if index == 0 else None))
    journal = Journal(new_session(pair, options, device.name, measures=asked))
    result = kinds_of(asked, pair, options, device, journal)
    (aside,) = result.set_aside
    assert aside.reason.startswith("others used")
    assert any("1 process was disturbed" in warning for warning in result.warnings)
    assert len(device.asked) == 1 + len(journal.session.rows) * 2


def test_others_of_ours_do_not_disturb(pair: list[Path]) -> None:
    """Beside the others they take cores, as they are to; a hot board is another measurement."""
    options = QUICK.model_copy(update={"retries": 1, "repetitions": 2})
    # Alone, beside, alone, beside; then beside comes first.
    beside = [1, 3, 4, 6]
    device = Device(lambda index: answer(CALM, after=BUSY if index in beside else None))
    result = measure_together(pair, options, device)
    assert not result.set_aside
    assert not any(run.disturbances for model in result.models for run in model.together)
    device = Device(lambda index: answer(CALM, after=HOT if index in (1, 2) else None))
    result = measure_together(pair, options, device)
    assert len(result.set_aside) == 1
    assert "beside the others" in "\n".join(result.warnings)


def test_disturbed_frames_do_not_count(pair: list[Path]) -> None:
    """The file's first process stays disturbed, at twice the time."""
    options = QUICK.model_copy(update={"repetitions": 4})
    slow = [2_000_000, 2_000_000]
    device = Device(lambda i: answer(slow if i == 0 else CALM, after=BUSY if i == 0 else None))
    result = measure_end_to_end(pair[:1], options, FRAME, device)
    assert result.models[0].total_ns.value == pytest.approx(1_000_000)
    assert "1 of 4 processes stayed disturbed and do not count" in "\n".join(result.warnings)


def test_detect_adds_repetitions(pair: list[Path]) -> None:
    options = QUICK.model_copy(update={"detect": 0.03, "repetitions": 1})
    result = measure_end_to_end(pair, options, FRAME, Device(lambda index: answer(CALM)))
    assert [len(model.processes) for model in result.models] == [6, 6]


@pytest.mark.parametrize("asked", [MEASURES, END_TO_END])
def test_what_was_cut_short_goes_on(asked: Measures, pair: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "r.json.partial"

    def lost(index: int) -> list[Event]:
        if index == 3:
            raise MeasurementError("scripted: the connection was lost")
        return answer(CALM)

    first = Device(lost)
    journal = Journal.create(path, new_session(pair, QUICK, first.name, measures=asked))
    with pytest.raises(MeasurementError, match="the connection was lost"):
        kinds_of(asked, pair, QUICK, first, journal)
    begun = bench_session.resume(path, QUICK, set())
    assert (len(begun.finished), begun.session.measures) == (3, asked)
    again = Device(lambda index: answer(CALM))
    result = kinds_of(asked, pair, QUICK, again, begun)
    assert len(again.asked) == len(begun.session.rows) * QUICK.repetitions - 3
    assert type(result).parse(result.model_dump_json(), "r.json") == result


def test_another_kind_does_not_go_on(pair: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "r.json.partial"
    Journal.create(path, new_session(pair, QUICK, "scripted", measures=END_TO_END))
    for other in (MEASURES, measures((640, 480))):
        with pytest.raises(UsageError, match="begun as a measurement of kind end-to-end with fram"):
            bench_session.resume(path, QUICK, set(), other)
    assert bench_session.resume(path, QUICK, set(), END_TO_END).session.measures == END_TO_END
    with pytest.raises(UsageError, match="not as a measurement of kind latency"):
        measure(pair, QUICK, Device(lambda index: answer(CALM)), journal=Journal.open(path))


@pytest.mark.parametrize("asked", [LATENCY, END_TO_END])
def test_a_file_that_was_left_out_stays_so(
    asked: Measures, pair: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle's file that the board cannot run; continued without the bundle's name, it failed."""
    seen: list[object] = []

    def check(models: list[Path], *more: object) -> list[Checked]:
        seen.append(more[-1])
        failure = MeasurementError("scripted: b.tflite has an operator that it lacks")
        return [Checked(None, None, None), Checked(None, None, None, failure)]

    monkeypatch.setattr("edgeconv.bench.protocol.check_models", check)
    device = Device(lambda index: answer(CALM))
    monkeypatch.setattr(bench_session, "open_device", lambda name: device)
    out = tmp_path / "r.json"
    bench_session.begin(pair, QUICK, "scripted", out, None, asked, pair)
    begun = bench_session.resume(out.with_name("r.json.partial"), QUICK, set())
    result = bench_session.measure_all(pair, begun, lambda *_: None)
    assert seen == [set(pair)]
    assert isinstance(result, TogetherResult) is False
    assert [left.file.name for left in result.left_out] == [str(pair[1])]
    assert [model.file.name for model in result.models] == [str(pair[0])]
