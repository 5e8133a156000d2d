"""The order of a session and what is made of the devices' answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bench import BenchOptions, BenchResult, measure
from edgeconv.bench.end_to_end import EndToEndResult
from edgeconv.bench.instructions import CountResult
from edgeconv.bench.processes import COOLING_SECONDS, round_of
from edgeconv.bench.profile.profile import OperatorResult
from edgeconv.bench.result import summarize
from edgeconv.bench.sustained import SustainedResult
from edgeconv.bench.together import TogetherResult
from edgeconv.device import Event, Runtime, open_device
from edgeconv.errors import EdgeconvError, MeasurementError, UsageError
from edgeconv.versioned import Versioned
from support.scripted_device import QUICK, Scripted, answer
from support.tiny_models import write_onnx, write_tflite

pytestmark = pytest.mark.usefixtures("unchecked")


@given(st.integers(1, 8), st.integers(1, 8))
def test_schedule_is_complete_and_balanced(models: int, repetitions: int) -> None:
    steps = [s for r in range(repetitions) for s in round_of(range(models), r)]
    assert [step.order for step in steps] == list(range(models * repetitions))
    assert Counter((s.row, s.repetition) for s in steps) == Counter(
        (m, r) for m in range(models) for r in range(repetitions)
    )
    if repetitions % 2 == 0:
        # A linear drift adds the same to every model: the mean place is the same.
        places = [sum(s.order for s in steps if s.row == m) for m in range(models)]
        assert len(set(places)) == 1


def test_forth_and_back(pair: list[Path]) -> None:
    device = Scripted(lambda i, name: answer([1000 + i] * 4))
    seen: list[tuple[str, int, int]] = []
    result = measure(pair, QUICK, device, lambda *step: seen.append(step))
    assert device.asked == ["a.tflite", "b.tflite", "b.tflite", "a.tflite", "a.tflite", "b.tflite"]
    assert seen == [(f"Measuring {name}", order, 6) for order, name in enumerate(device.asked)]
    assert [run.order for run in result.models[0].processes] == [0, 3, 4]
    assert result.models[1].samples == [(1001,) * 4, (1002,) * 4, (1005,) * 4]


def test_keeps_what_came_and_reads_it_back(pair: list[Path], tmp_path: Path) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000, 2000 + i, 1500])))
    path = tmp_path / "result.json"
    result.save(path)
    again = BenchResult.load(path)
    assert again == result
    model = again.models[0]
    assert summarize(model.processes) == model.summary
    assert model.summary.load == 5_000_000
    assert model.summary.first == 2_000_000
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".tflite", ".json")] == []


def test_slowest_and_speedup(pair: list[Path]) -> None:
    def answers(index: int, name: str) -> list[Event]:
        return answer([3000] * 4 if name == "b.tflite" else [1000] * 4)

    result = measure(pair, QUICK, Scripted(answers))
    assert result.slowest == 1
    assert result.speedup(1, 0).value == pytest.approx(3.0)


def test_calm_machine_gives_no_warning_but_the_governor(pair: list[Path]) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4)))
    (warning,) = result.warnings
    assert "governor is ondemand" in warning


@pytest.mark.parametrize(
    ("disturbed", "said"),
    [
        ({"after": {"all_cpu_seconds": 102.5}}, "busy: in 1 of 6 processes others used CPU"),
        ({"after": {"all_cpu_seconds": 102.5}}, "up to 1.5 cores"),
        ({"after": {"stolen_seconds": 0.1}}, "the hypervisor took up to 10% of a core"),
        ({"after": {"frequencies_hz": [600_000_000]}}, "frequency changed by up to 60%"),
        ({"after": {"throttled": "50005"}}, "under-voltage, throttled (bits 50005)"),
        ({"stable": False}, "b.tflite: the warm-up never became stable in 1 of 3"),
        ({"complete": False}, "b.tflite: --max-seconds 60 was up before --runs 40 in 1 of 3"),
        ({"digest": "1" * 64}, "b.tflite: the outputs differ between processes"),
    ],
)
def test_disturbances_are_told(pair: list[Path], disturbed: dict[str, Any], said: str) -> None:
    def answers(index: int, name: str) -> list[Event]:
        return answer([1000] * 4, **(disturbed if index == 1 else {}))

    result = measure(pair, QUICK, Scripted(answers))
    assert any(said in warning for warning in result.warnings), result.warnings


def test_which_limit_came_too_soon(pair: list[Path]) -> None:
    """2,579 samples where 50 were asked, and the note said that the runs were not reached."""
    options = QUICK.model_copy(update={"runs": 4, "seconds": 2.0, "max_seconds": 0.3})
    device = Scripted(lambda i, name: answer([1000] * 4, complete=False))
    warnings = measure(pair, options, device).warnings
    assert f"{pair[0]}: --max-seconds 0.3 was up before --seconds 2 in 3 of 3 processes" in warnings


def test_one_process_is_told_in_the_singular(pair: list[Path]) -> None:
    options = QUICK.model_copy(update={"repetitions": 1})
    device = Scripted(lambda i, name: answer([1000] * 4, complete=False))
    warnings = measure(pair[:1], options, device).warnings
    assert any(line.endswith("before --runs 40 in the only process") for line in warnings)


def test_more_threads_than_cpus(pair: list[Path]) -> None:
    def reported(threads: int) -> bool:
        options = QUICK.model_copy(update={"threads": threads})
        result = measure(pair, options, Scripted(lambda i, name: answer([1000] * 4)))
        return any("threads share 4 CPUs" in warning for warning in result.warnings)

    assert reported(5)
    assert not reported(4)


def test_a_disturbed_process_is_repeated(pair: list[Path]) -> None:
    """Once, and what it measured is kept apart; the other figures are those of calm processes."""

    def answers(index: int, name: str) -> list[Event]:
        busy = {"all_cpu_seconds": 102.5} if index == 1 else None
        return answer([5000 if busy else 1000] * 4, after=busy)

    device = Scripted(answers)
    result = measure(pair, QUICK.model_copy(update={"retries": 2}), device)
    assert device.asked == [f"{name}.tflite" for name in "abbbaab"]
    assert device.renewed == 7
    (aside,) = result.set_aside
    assert (aside.model, aside.repetition, aside.samples_ns) == (1, 0, (5000,) * 4)
    assert aside.reason == "others used 1.5 cores"
    assert {s for model in result.models for p in model.samples for s in p} == {1000}
    assert any("1 process was disturbed" in warning for warning in result.warnings)
    assert not any("stayed disturbed" in warning for warning in result.warnings)


def test_what_stays_disturbed_says_so(pair: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("edgeconv.bench.processes.time.sleep", slept.append)

    def answers(index: int, name: str) -> list[Event]:
        return answer([1000] * 4, after={"throttled": "4"} if name == "b.tflite" else None)

    result = measure(pair, QUICK.model_copy(update={"retries": 2}), Scripted(answers))
    assert len(result.set_aside) == 2 * 3
    assert slept == [COOLING_SECONDS] * 6
    assert [run.disturbances for run in result.models[0].processes] == [()] * 3
    reported = ("the board reports: throttled (bits 4)",)
    assert [run.disturbances for run in result.models[1].processes] == [reported] * 3
    assert any(
        "b.tflite: 3 of 3 processes stayed disturbed: distrust" in warning
        for warning in result.warnings
    )


def test_a_board_that_throttled_long_ago(pair: list[Path]) -> None:
    """The upper bits remember it until the next start; only a new one is of this process."""
    result = measure(
        pair,
        QUICK,
        Scripted(lambda i, name: answer([1000], before="50000", after={"throttled": "50000"})),
    )
    assert not any("board reports" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("samples", "reported"), [([1000] * 4, {"runs": 5}), ([10**9, 10**9], {}), ([1000], {"ns": 10})]
)
def test_an_answer_that_contradicts_itself(
    pair: list[Path], samples: list[int], reported: dict[str, Any]
) -> None:
    def answers(index: int, name: str) -> list[Event]:
        *events, done = answer(samples)
        return [*events, done.model_copy(update=reported)]

    with pytest.raises(MeasurementError, match="contradicts itself"):
        measure(pair, QUICK, Scripted(answers))


@pytest.mark.parametrize("gone", range(8))
def test_an_answer_with_a_gap(pair: list[Path], gone: int) -> None:
    def answers(index: int, name: str) -> list[Event]:
        events = answer([1000])
        return events[:gone] + events[gone + 1 :]

    # 5 and 6 are batches of samples, of which the second is empty: then the count is wrong.
    if gone == 6:
        assert measure(pair, QUICK, Scripted(answers))
    else:
        with pytest.raises(MeasurementError, match="left out"):
            measure(pair, QUICK, Scripted(answers))


def test_files_that_cannot_be_measured(tmp_path: Path) -> None:
    tflite, onnx = write_tflite(tmp_path / "m.tflite"), write_onnx(tmp_path / "m.onnx")
    other = tmp_path / "m.pt"
    other.write_bytes(b"x")
    damaged = tmp_path / "bad.tflite"
    damaged.write_bytes(b"\x00" * 100)
    device = Scripted(lambda i, name: answer([1000]))
    cases: list[tuple[list[Path], BenchOptions, type[Exception], str]] = [
        ([], QUICK, UsageError, "nothing to measure"),
        ([tflite, tflite], QUICK, UsageError, "named twice"),
        ([tmp_path / "none.onnx"], QUICK, UsageError, "no such file or bundle"),
        ([tmp_path], QUICK, UsageError, "no such file or bundle"),
        ([other], QUICK, UsageError, "neither"),
        ([damaged], QUICK, UsageError, "not a TFLite file"),
        (
            [onnx],
            QUICK.model_copy(update={"runtime": Runtime.LITERT}),
            UsageError,
            "litert reads .tflite files",
        ),
        (
            [tflite],
            QUICK.model_copy(update={"inputs": tmp_path / "no.npz"}),
            UsageError,
            "no.npz does not exist",
        ),
    ]
    for models, options, kind, said in cases:
        with pytest.raises(kind, match=said):
            measure(models, options, device)
    assert device.asked == []


def test_on_this_machine(tmp_path: Path) -> None:
    models = [write_onnx(tmp_path / "m.onnx"), write_tflite(tmp_path / "m.tflite", dtype="int8")]
    result = measure(models, QUICK, open_device("local"))
    assert [m.processes[0].runtime.value for m in result.models] == ["onnxruntime", "litert"]
    for model in result.models:
        assert len(model.processes) == 3
        assert all(len(s) >= 40 for s in model.samples)
        assert model.summary.p90.value is not None
        assert model.summary.median.low <= model.summary.median.value
        assert len({run.outputs for run in model.processes}) == 1
    assert BenchResult.parse(result.model_dump_json(), tmp_path) == result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "or not a result"),
        ("[]", "or not a result"),
        ("{}", "schema_version"),
        ('{"schema_version": 4}', "has schema version 4"),
        ('{"schema_version": 1, "device": 3}', "or not a result"),
        ("\udcff", "or not a result"),
    ],
)
def test_a_result_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(MeasurementError, match=said):
        BenchResult.load(path)


def test_samples_are_positive(pair: list[Path], tmp_path: Path) -> None:
    """They once ended in the logarithm of a negative number."""
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4)))
    text = result.model_dump_json().replace("1000,1000,1000,1000", "1000,-5,1000,1000")
    with pytest.raises(EdgeconvError, match=r"samples_ns\.1: Input should be greater than 0"):
        BenchResult.parse(text, tmp_path)


@pytest.mark.parametrize(
    ("by_hand", "said"),
    [
        # Sizes are divided by, and shown.
        (("file", "bytes", 0), r"models\.0\.file\.bytes: Input should be greater than"),
        (("file", "bytes", -5), r"models\.0\.file\.bytes: Input should be greater than"),
        (("file", "bytes", 2**63), r"models\.0\.file\.bytes: Input should be less than"),
        (("memory", "peak", 2**64), r"models\.0\.memory\.peak: Input should be less than"),
        (("processes", "elapsed_ns", 3999), "4000 ns in all contradict 3999 ns of measuring"),
        (("processes", "elapsed_ns", 2**63), r"elapsed_ns: Input should be less than"),
        (("processes", "load_ns", 10**400), r"load_ns: Input should be"),
    ],
)
def test_figures_that_a_hand_wrote_are_refused(
    pair: list[Path], tmp_path: Path, by_hand: tuple[str, str, int], said: str
) -> None:
    part, name, value = by_hand
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4)))
    reported = json.loads(result.model_dump_json())
    model = reported["models"][0] | {"memory": {"before": 1, "peak": 2}}
    reported["models"][0] = model
    BenchResult.parse(json.dumps(reported), tmp_path)  # up to here it is a result
    (model[part][0] if part == "processes" else model[part])[name] = value
    with pytest.raises(MeasurementError, match=said):
        BenchResult.parse(json.dumps(reported), tmp_path)


def test_a_result_without_models(pair: list[Path], tmp_path: Path) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4)))
    text = result.model_copy(update={"models": ()}).model_dump_json()
    with pytest.raises(EdgeconvError, match="models"):
        BenchResult.parse(text, tmp_path)


@pytest.mark.parametrize(
    "result",
    [BenchResult, CountResult, EndToEndResult, OperatorResult, SustainedResult, TogetherResult],
)
def test_no_kind_of_result_is_without_models(result: type[Versioned]) -> None:
    assert result.model_json_schema()["properties"]["models"]["minItems"] >= 1


def test_a_result_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        BenchResult.load(tmp_path / "r.json")


@pytest.mark.parametrize(
    "bad",
    [{"repetitions": 0}, {"runs": 0}, {"seconds": -1}, {"warmup": float("nan")}, {"seed": -1}],
)
def test_options_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        BenchOptions(**bad)


def test_processor_time_and_minimum(pair: list[Path]) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000, 1100, 1200, 990 + i])))
    summary = result.models[0].summary
    assert summary.minimum == 990
    assert summary.cpu == pytest.approx(1e9 / 4)  # a second of the process for four inferences
    assert summary.low.value < summary.median.value


def test_results_of_version_1_are_read(pair: list[Path], tmp_path: Path) -> None:
    result = measure(pair, QUICK, Scripted(lambda i, name: answer([1000] * 4)))
    old = json.loads(result.model_dump_json())
    old["schema_version"] = 1
    for name in ("detect", "max_repetitions"):
        del old["options"][name]
    del old["left_out"], old["machine"]["cpu_quota"]
    for model in old["models"]:
        for name in ("low", "minimum", "cpu", "processes"):
            del model["summary"][name]
        del model["threads"]
        for run in model["processes"]:
            del run["during"]
            for state in ("before", "after"):
                for name in ("busy", "stopped", "suspended"):
                    del run[state][f"{name}_seconds"]
                del run[state]["continued"]
    again = BenchResult.parse(json.dumps(old), tmp_path)
    assert again.schema_version == 3
    assert again == result
