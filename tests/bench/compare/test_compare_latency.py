"""Comparison and gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeconv.bench import BenchOptions, BenchResult
from edgeconv.bench.compare.comparison import STRICT, Limits, Outcome, Terms
from edgeconv.bench.compare.gate import GateReport, gate
from edgeconv.bench.compare.latency import (
    LATENCY,
    LatencyComparison,
    LatencyVerdict,
    compare_latencies,
    compare_within,
    outcome_of,
)
from edgeconv.bench.sessions import Between
from edgeconv.bench.statistics import Change, Estimate, Figure, Variance
from edgeconv.errors import UsageError
from edgeconv.report.gate import markdown
from support.results import MACHINE, made_model, made_result

CALM = [1_000_000, 1_001_000, 999_000, 1_000_500, 999_500]
NOISY = [1_000_000, 1_200_000, 800_000, 1_100_000, 900_000]


LIMITS = Limits(regression=0.03)
# A device whose sessions are known to differ by 0.1 %.
QUIET = Terms(between=lambda device: Between(Variance(1e-6, 1000), 1000))


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
    (comparison,) = compare_latencies(old, new, QUIET).comparisons
    assert comparison.verdict is verdict
    assert comparison.sentence().startswith(words)
    assert comparison.change.low <= comparison.change.value <= comparison.change.high


def test_files_are_paired_by_name_without_their_folder() -> None:
    old = made_result(made_model("old/a.onnx", CALM), made_model("old/b.onnx", CALM))
    new = made_result(made_model("new/b.onnx", CALM), made_model("new/c.onnx", CALM))
    report = compare_latencies(old, new, QUIET)
    assert [c.name for c in report.comparisons] == ["b.onnx"]
    assert report.only_before == ("a.onnx",)
    assert report.only_after == ("c.onnx",)


def test_same_name_in_two_folders_needs_the_folder() -> None:
    old = made_result(made_model("x/m.onnx", CALM), made_model("y/m.onnx", scaled(CALM, 2)))
    report = compare_latencies(old, old, QUIET)
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
        compare_latencies(old, new, QUIET)


def test_what_else_changed_is_told() -> None:
    old = made_result(made_model("m", CALM), device="local", warnings=("the machine was busy",))
    new = made_result(
        made_model("m", CALM, version="3.0"),
        device="local:python3",
        machine=MACHINE.model_copy(update={"governor": "ondemand"}),
    )
    because = "so nothing is decided; see --across"
    assert compare_latencies(old, new).remarks("the baseline", "the result") == (
        "the two are different sessions, which differ by 1.0% on this device (an assumption: the "
        "history has no file that was measured twice there)",
        f"the device changed from local to local:python3, {because} device",
        f"the governor changed from performance to ondemand, {because} governor",
        f"the runtime changed from litert 2.3 to litert 3.0, {because} runtime",
        "in the baseline the machine was busy",
    )
    text = shown(gate(compare_latencies(new, old), LIMITS))
    assert "- in the result the machine was busy" in text


@pytest.mark.parametrize(
    ("after", "size", "reasons"),
    [
        (scaled(CALM, 1.05), 1000, ("slower by +5.0% (median and 10th percentile)",)),
        (scaled(CALM, 1.02), 1000, ()),
        (scaled(CALM, 0.5), 1000, ()),
        (CALM, 1031, ("larger by +3.1%",)),
        (CALM, 1030, ()),
        (
            scaled(CALM, 2),
            2000,
            ("slower by +100.0% (median and 10th percentile)", "larger by +100.0%"),
        ),
    ],
)
def test_gate(after: list[int], size: int, reasons: tuple[str, ...]) -> None:
    old, new = made_result(made_model("m", CALM)), made_result(made_model("m", after, size=size))
    report = gate(compare_latencies(old, new, QUIET), LIMITS)
    assert report.rows[0].reasons == reasons
    assert report.outcome is (Outcome.FAIL if reasons else Outcome.PASS)
    assert ("FAILED" in shown(report)) is bool(reasons)


def test_noise_does_not_pass_the_gate() -> None:
    old, new = made_result(made_model("m", NOISY)), made_result(made_model("m", NOISY[::-1]))
    report = gate(compare_latencies(old, new, QUIET), LIMITS)
    assert report.outcome is Outcome.INCONCLUSIVE
    assert "**Gate INCONCLUSIVE**" in shown(report)
    assert "**inconclusive**: it is neither shown nor excluded" in shown(report)


def test_a_file_that_is_gone_fails_the_gate() -> None:
    old = made_result(made_model("a", CALM), made_model("b", CALM))
    report = gate(
        compare_latencies(old, made_result(made_model("a", CALM), made_model("c", CALM))), LIMITS
    )
    assert report.outcome is Outcome.FAIL
    assert "| b | | | | | **failed**: not measured |" in shown(report)


def test_a_file_that_is_new_is_named_at_the_gate() -> None:
    """It once was left out without a word."""
    new = made_result(made_model("a", CALM), made_model("c", CALM))
    old = made_result(made_model("a", CALM), made_model("a2", CALM))
    report = gate(compare_latencies(old, new, QUIET), LIMITS)
    assert report.added == ("c",)
    assert "| c | | | | | new: not in the baseline |" in shown(report)
    first = new.model_copy(update={"models": new.models[:1]})
    assert gate(compare_latencies(first, new, QUIET), LIMITS).outcome is Outcome.PASS


def test_a_name_cannot_break_the_table() -> None:
    old = made_result(made_model("a|<b>\n.onnx", CALM))
    lines = shown(gate(compare_latencies(old, old, QUIET), LIMITS)).splitlines()
    assert lines[4].startswith("| a\\|\\<b\\>\\\\n.onnx |")


def test_one_process_a_side_decides_nothing() -> None:
    before = made_result(made_model("a.tflite", [1000]))
    after = made_result(made_model("a.tflite", [1100]))
    (comparison,) = compare_latencies(before, after).comparisons
    assert comparison.verdict is LatencyVerdict.UNDECIDED
    assert "of one process a side: repeat more" in comparison.sentence()
    assert comparison.judge(LIMITS) is Outcome.INCONCLUSIVE


def one(before: BenchResult, after: BenchResult, terms: Terms = QUIET) -> LatencyComparison:
    (comparison,) = compare_latencies(before, after, terms).comparisons
    return comparison


def test_sessions_differ_by_more_than_their_processes_say() -> None:
    """Two sessions of one file with an offset of 1 % were "significantly" different."""
    old, new = made_result(made_model("m", CALM)), made_result(made_model("m", scaled(CALM, 1.01)))
    assert one(old, new).verdict is LatencyVerdict.SLOWER  # the device's sessions are all alike
    blind = one(old, new, STRICT)
    assert blind.verdict is LatencyVerdict.UNDECIDED
    assert blind.judge(LIMITS) is Outcome.INCONCLUSIVE
    wide = compare_latencies(old, new).cautions[0]
    assert wide.startswith("the two are different sessions, which differ by 1.0%")


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (1.0, Outcome.PASS),
        (1.01, Outcome.PASS),  # significantly slower, but surely by less than the limit
        (1.03, Outcome.FAIL),  # what the limit says must be found
        (1.2, Outcome.FAIL),
        (0.5, Outcome.PASS),
    ],
)
def test_the_limit_is_what_must_be_found(change: float, outcome: Outcome) -> None:
    old, new = (made_result(made_model("m", scaled(CALM, x))) for x in (1.0, change))
    assert one(old, new).judge(LIMITS) is outcome


def disturbed(places: list[int]) -> BenchResult:
    return made_result(made_model("m", scaled(CALM, 1.1), disturbed=places))


def test_a_disturbed_result_decides_nothing() -> None:
    """It failed with "slower by +10.9 %" above the note that the figures deserve no trust."""
    old, new = made_result(made_model("m", CALM)), disturbed([0, 1, 2, 3, 4])
    assert one(old, new).outcome(LIMITS) is Outcome.INCONCLUSIVE
    text = shown(gate(compare_latencies(old, new, QUIET), LIMITS))
    assert "**inconclusive**: too many processes stayed disturbed in the result" in text
    assert one(old, new).verdict is LatencyVerdict.UNDECIDED
    assert one(old, new).sentence() == "undecided, see the notes"
    assert one(new, old).outcome(LIMITS) is Outcome.INCONCLUSIVE
    assert one(old, disturbed([0, 1])).outcome(LIMITS) is Outcome.FAIL


def test_disturbed_processes_do_not_count_where_others_do() -> None:
    medians = [*CALM, 2_000_000]
    model = made_model("m", medians, disturbed=[5])
    assert model.summary.processes == 5
    assert model.summary.median == made_model("m", CALM).summary.median
    assert made_model("m", medians).summary.median.value > 1.1e6


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"options": BenchOptions(threads=4)}, "threads"),
        ({"options": BenchOptions(affinity=(1,))}, "cores"),
        ({"machine": MACHINE.model_copy(update={"cpu": "Cortex-A76"})}, "CPU"),
        ({"machine": MACHINE.model_copy(update={"board": "Raspberry Pi 5"})}, "board"),
        ({"device": "ssh://pi"}, "device"),
    ],
)
def test_other_conditions_decide_nothing_unless_they_are_compared(
    changes: dict[str, Any], name: str
) -> None:
    old = made_result(made_model("m", CALM))
    new = made_result(made_model("m", scaled(CALM, 1.5)), **changes)
    assert one(old, new).outcome(LIMITS) is Outcome.INCONCLUSIVE
    assert one(old, new).doubts == (f"the {name} changed",)
    asked = replace(QUIET, across=frozenset([name]))
    assert one(old, new, asked).outcome(LIMITS) is Outcome.FAIL
    assert one(old, new, asked).doubts == ()


def test_within_one_session_files_are_paired() -> None:
    """What drifts hits both, so 1 % is found under a drift of 50 %."""
    drift = [1_000_000 * (10 + step) // 10 for step in range(6)]
    noise = [1.0, 1.001, 0.999, 1.0, 1.002, 0.998]
    slower = [round(1.01 * ns * more) for ns, more in zip(drift, noise, strict=True)]
    result = made_result(made_model("a", drift), made_model("b", slower))
    (comparison,) = compare_within(result, {"b": (0, 1)}).comparisons
    assert comparison.verdict is LatencyVerdict.SLOWER
    assert comparison.change.value == pytest.approx(1.01, rel=1e-3)


def test_a_session_in_which_few_pairs_were_left_in_peace() -> None:
    result = made_result(
        made_model("a", CALM, disturbed=[0, 1]), made_model("b", CALM, disturbed=[2, 3])
    )
    (comparison,) = compare_within(result, {"b": (0, 1)}).comparisons
    assert comparison.doubts == ("too many processes stayed disturbed",)


def test_figures_that_contradict_each_other() -> None:
    up, down = Estimate(1.05, 1.02, 1.08), Estimate(0.95, 0.92, 0.98)
    change = Change(up, down, 0.03)
    assert change.contradictory
    assert outcome_of(change, LIMITS) is Outcome.INCONCLUSIVE


def test_the_narrower_of_two_figures_that_moved_decides() -> None:
    wide, narrow, none = (
        Estimate(1.05, 1.01, 1.09),
        Estimate(1.04, 1.03, 1.05),
        Estimate(1.0, 0.999, 1.001),
    )
    assert Change(wide, narrow, 0.03).judged_by is Figure.LOW
    assert Change(wide, none, 0.03).judged_by is Figure.MEDIAN
    assert outcome_of(Change(wide, none, 0.03), LIMITS) is Outcome.FAIL
