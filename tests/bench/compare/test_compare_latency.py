"""Comparison and gate."""

from __future__ import annotations

import pytest

from edgeconv.bench.compare.comparison import Limits
from edgeconv.bench.compare.gate import GateReport, gate
from edgeconv.bench.compare.latency import LATENCY, LatencyVerdict, compare_latencies
from edgeconv.errors import UsageError
from edgeconv.report.gate import markdown
from support.results import MACHINE, made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000, 1_000_500, 999_500]
NOISY = [1_000_000, 1_200_000, 800_000, 1_100_000, 900_000]


LIMITS = Limits(regression=0.03)


def shown(report: GateReport) -> str:
    return markdown(report, LATENCY, LIMITS)


def scaled(medians: list[int], factor: float) -> list[int]:
    return [round(median * factor) for median in medians]


@pytest.mark.parametrize(
    ("before", "after", "verdict", "words"),
    [
        (CALM, scaled(CALM, 1.05), LatencyVerdict.SLOWER, "5.0% slower, at least 4."),
        (CALM, scaled(CALM, 0.5), LatencyVerdict.FASTER, "50.0% faster, at least 4"),
        (CALM, CALM[::-1], LatencyVerdict.UNDECIDED, "no difference shown"),
        (NOISY, scaled(NOISY, 1.05), LatencyVerdict.UNDECIDED, "no difference shown"),
    ],
)
def test_verdict(before: list[int], after: list[int], verdict: LatencyVerdict, words: str) -> None:
    old, new = made_result(made_model("m", before)), made_result(made_model("m", after))
    (comparison,) = compare_latencies(old, new).comparisons
    assert comparison.verdict is verdict
    assert comparison.sentence().startswith(words)
    assert comparison.change.low <= comparison.change.value <= comparison.change.high


def test_files_are_paired_by_name_without_their_folder() -> None:
    old = made_result(made_model("old/a.onnx", CALM), made_model("old/b.onnx", CALM))
    new = made_result(made_model("new/b.onnx", CALM), made_model("new/c.onnx", CALM))
    report = compare_latencies(old, new)
    assert [c.name for c in report.comparisons] == ["b.onnx"]
    assert report.only_before == ("a.onnx",)
    assert report.only_after == ("c.onnx",)


def test_same_name_in_two_folders_needs_the_folder() -> None:
    old = made_result(made_model("x/m.onnx", CALM), made_model("y/m.onnx", scaled(CALM, 2)))
    report = compare_latencies(old, old)
    assert [c.name for c in report.comparisons] == ["x/m.onnx", "y/m.onnx"]
    assert [c.change.value for c in report.comparisons] == [1.0, 1.0]


def test_one_file_each_is_a_pair_whatever_the_names() -> None:
    report = compare_latencies(
        made_result(made_model("a", CALM)), made_result(made_model("b", CALM))
    )
    assert [c.name for c in report.comparisons] == ["b"]


def test_nothing_in_common() -> None:
    old = made_result(made_model("a", CALM), made_model("b", CALM))
    new = made_result(made_model("c", CALM), made_model("d", CALM))
    with pytest.raises(UsageError, match="no file is in both results"):
        compare_latencies(old, new)


def test_what_else_changed_is_told() -> None:
    old = made_result(made_model("m", CALM), device="local", warnings=("the machine was busy",))
    new = made_result(
        made_model("m", CALM, version="3.0"),
        device="local:python3",
        machine=MACHINE.model_copy(update={"governor": "ondemand"}),
    )
    assert compare_latencies(old, new).remarks("the baseline", "the result") == (
        "the device changed from local to local:python3",
        "the governor changed from performance to ondemand",
        "the runtime changed from litert 2.3 to litert 3.0",
        "in the baseline the machine was busy",
    )
    text = shown(gate(compare_latencies(new, old), LIMITS))
    assert "- in the result the machine was busy" in text


@pytest.mark.parametrize(
    ("after", "size", "reasons"),
    [
        (scaled(CALM, 1.05), 1000, ("slower by +5.0%",)),
        (scaled(CALM, 1.02), 1000, ()),
        (scaled(CALM, 0.5), 1000, ()),
        (CALM, 1031, ("larger by +3.1%",)),
        (CALM, 1030, ()),
        (scaled(CALM, 2), 2000, ("slower by +100.0%", "larger by +100.0%")),
    ],
)
def test_gate(after: list[int], size: int, reasons: tuple[str, ...]) -> None:
    old, new = made_result(made_model("m", CALM)), made_result(made_model("m", after, size=size))
    report = gate(compare_latencies(old, new), LIMITS)
    assert report.rows[0].reasons == reasons
    assert report.passed is (not reasons)
    assert ("FAILED" in shown(report)) is bool(reasons)


def test_noise_passes_the_gate_but_not_in_silence() -> None:
    old, new = made_result(made_model("m", NOISY)), made_result(made_model("m", NOISY[::-1]))
    report = gate(compare_latencies(old, new), LIMITS)
    assert report.passed
    assert "too noisy to be sure" in shown(report)


def test_a_file_that_is_gone_fails_the_gate() -> None:
    old = made_result(made_model("a", CALM), made_model("b", CALM))
    report = gate(
        compare_latencies(old, made_result(made_model("a", CALM), made_model("c", CALM))), LIMITS
    )
    assert not report.passed
    assert "| b | | | | | **failed**: not measured |" in shown(report)


def test_a_file_that_is_new_is_named_at_the_gate() -> None:
    """It once was left out without a word."""
    new = made_result(made_model("a", CALM), made_model("c", CALM))
    old = made_result(made_model("a", CALM), made_model("a2", CALM))
    report = gate(compare_latencies(old, new), LIMITS)
    assert report.added == ("c",)
    assert "| c | | | | | new: not in the baseline |" in shown(report)
    assert gate(
        compare_latencies(new.model_copy(update={"models": new.models[:1]}), new), LIMITS
    ).passed


def test_a_name_cannot_break_the_table() -> None:
    old = made_result(made_model("a|<b>\n.onnx", CALM))
    lines = shown(gate(compare_latencies(old, old), LIMITS)).splitlines()
    assert lines[-1].startswith("| a\\|\\<b\\>\\\\n.onnx |")


def test_one_process_a_side_decides_nothing() -> None:
    before = made_result(made_model("a.tflite", [1000]))
    after = made_result(made_model("a.tflite", [1100]))
    (comparison,) = compare_latencies(before, after).comparisons
    assert comparison.verdict is LatencyVerdict.UNDECIDED
    assert "--repetitions" in comparison.sentence()
