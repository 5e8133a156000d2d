"""Comparison and gate of accuracies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeconv.bench.compare.accuracy import ACCURACY, AccuracyVerdict, compare_accuracy
from edgeconv.bench.compare.comparison import Limits, Outcome
from edgeconv.bench.compare.gate import gate
from edgeconv.errors import DataError, UsageError
from edgeconv.evaluation import Accuracy, Evaluation, Figure
from edgeconv.report.gate import markdown
from support.command_line import CommandLine
from support.results import made_evaluation

SAMPLES = 1000
RIGHT = np.arange(SAMPLES) >= 100  # 90 %
LIMITS = Limits(regression=0.03, accuracy_loss=0.005)


def worse(by: int) -> npt.NDArray[np.bool_]:
    """So many samples of those that were right are wrong."""
    right = RIGHT.copy()
    right[-by:] = False
    return right


def save(path: Path, evaluation: Evaluation) -> Path:
    evaluation.save(path)
    return path


@pytest.mark.parametrize(
    ("after", "verdict", "words"),
    [
        (worse(20), AccuracyVerdict.LESS, "2.00 points less accurate, at least 1."),
        (RIGHT | (np.arange(SAMPLES) < 20), AccuracyVerdict.MORE, "2.00 points more accurate"),
        (
            RIGHT,
            AccuracyVerdict.UNDECIDED,
            "no difference shown, between -0",
        ),
        (np.roll(RIGHT, 50), AccuracyVerdict.UNDECIDED, "no difference shown"),
        (worse(5), AccuracyVerdict.UNDECIDED, "no difference shown"),
        (worse(6), AccuracyVerdict.LESS, "0.60 points less accurate"),
    ],
)
def test_verdict(after: npt.NDArray[np.bool_], verdict: AccuracyVerdict, words: str) -> None:
    before = made_evaluation({"m": RIGHT})
    (comparison,) = compare_accuracy(before, made_evaluation({"m": after})).comparisons
    assert comparison.verdict is verdict
    assert comparison.sentence().startswith(words)
    assert comparison.paired


def test_an_error_of_zero_may_not_grow_by_any_share() -> None:
    figures = [
        Accuracy(
            path="m",
            bytes=1,
            runtime="x 1",
            figures=(Figure(name="RMSE", value=value, unit="m", better="lower", samples=SAMPLES),),
        )
        for value in (0.0, 0.004)
    ]
    before, after = (made_evaluation({"m": RIGHT}, results=(each,)) for each in figures)
    (grown,) = compare_accuracy(before, after).comparisons
    assert grown.judge(LIMITS) is Outcome.FAIL
    (same,) = compare_accuracy(before, before).comparisons
    assert same.judge(LIMITS) is Outcome.PASS


def test_other_samples_are_not_paired() -> None:
    before = made_evaluation({"m": RIGHT})
    for changed in ({"data_sha256": "1" * 64}, {"skipped": ("a.png",)}):
        after = made_evaluation({"m": worse(20)}, **changed)
        report = compare_accuracy(before, after)
        assert not report.comparisons[0].paired
        assert report.comparisons[0].verdict is AccuracyVerdict.UNDECIDED
        assert "the samples changed" in report.cautions[0]
    assert report.remarks("old", "new")[-1] == "in new 1 sample was unreadable"
    many = made_evaluation({"m": worse(80)}, data_sha256="1" * 64)
    assert compare_accuracy(before, many).comparisons[0].verdict is AccuracyVerdict.LESS


@pytest.mark.parametrize(
    ("after", "max_loss", "outcome", "words"),
    [
        (worse(20), 0.005, Outcome.FAIL, "| m | 90.00% | 88.00% | -2.00 \\["),
        (worse(20), 0.005, Outcome.FAIL, "**failed**: -2.00 points |"),
        (worse(20), 0.02, Outcome.INCONCLUSIVE, "too few samples to be sure"),
        (worse(6), 0.005, Outcome.FAIL, "**failed**: -0.60 points"),
        (worse(6), 0.03, Outcome.PASS, "1.00 kB (+0.0%) | passed |"),
        (RIGHT, 0.005, Outcome.PASS, "| passed |"),
        (worse(5), 0.005, Outcome.INCONCLUSIVE, "**inconclusive**: too few samples to be sure"),
        (np.roll(RIGHT, 50), 0.005, Outcome.PASS, "| passed |"),
    ],
)
def test_gate(after: npt.NDArray[np.bool_], max_loss: float, outcome: Outcome, words: str) -> None:
    report = compare_accuracy(made_evaluation({"m": RIGHT}), made_evaluation({"m": after}))
    limits = Limits(0.03, max_loss)
    gated = gate(report, limits)
    assert gated.outcome is outcome
    text = markdown(gated, ACCURACY, limits)
    assert words in text
    assert ("FAILED" in text) is (outcome is Outcome.FAIL)


def test_a_larger_file_fails_the_gate() -> None:
    report = compare_accuracy(
        made_evaluation({"m": RIGHT}), made_evaluation({"m": RIGHT}, size=1040)
    )
    assert gate(report, LIMITS).rows[0].reasons == ("larger by +4.0%",)
    assert gate(report, Limits(0.05, 0.005)).outcome is Outcome.PASS


def test_a_file_that_is_gone_fails_the_gate() -> None:
    before = made_evaluation({"a": RIGHT, "b": RIGHT})
    gated = gate(compare_accuracy(before, made_evaluation({"a": RIGHT})), LIMITS)
    assert gated.outcome is Outcome.FAIL
    assert "| b | | | | | **failed**: not measured |" in markdown(gated, ACCURACY, LIMITS)
    with pytest.raises(UsageError, match="no file is in both"):
        compare_accuracy(before, made_evaluation({"c": RIGHT, "d": RIGHT}))


def test_commands(tmp_path: Path, edgeconv: CommandLine) -> None:
    old = save(tmp_path / "old.json", made_evaluation({"m": RIGHT}))
    new = save(tmp_path / "new.json", made_evaluation({"m": worse(20)}))
    failed = edgeconv("gate", new, "--baseline", old)
    assert failed.returncode == 1
    assert failed.stdout.startswith("**Gate FAILED** (accuracy): at most 0.5 points lost ")
    loose = edgeconv("gate", new, "--baseline", old, "--max-accuracy-loss", "2.5")
    assert loose.returncode == 3
    assert "**Gate INCONCLUSIVE**" in loose.stdout
    assert edgeconv("gate", old, "--baseline", new).returncode == 0
    shown = edgeconv("compare", old, new).stdout
    assert "90.00%" in shown
    assert "2.00 points less accurate" in shown
    (report,) = json.loads(edgeconv("compare", old, new, "--json").stdout)["comparisons"]
    assert report["of"] == "accuracies"
    assert report["files"][0]["change"]["value"] == pytest.approx(-0.02)
    assert report["files"][0]["paired"] is True
    for bad in ("x", "-1", "nan", "101"):
        done = edgeconv("gate", new, "--baseline", old, "--max-accuracy-loss", bad)
        assert done.returncode == 2


@given(arrays.arrays(np.bool_, st.integers(1, 100)))
def test_outcomes_come_back(right: npt.NDArray[np.bool_]) -> None:
    evaluation = made_evaluation({"m": right})
    again = Evaluation.parse(evaluation.model_dump_json(), Path("r.json"))
    assert again == evaluation
    assert np.array_equal(again.scores(again.results[0]), right)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("outcomes", "AAAA", "are not 1000"),
        ("outcomes", "?", "not base64"),
        ("value", 0.3, "are not those of its top-1"),
    ],
)
def test_damaged_outcomes(field: str, value: object, words: str) -> None:
    plain = json.loads(made_evaluation({"m": RIGHT}).model_dump_json())
    result = plain["results"][0]
    (result if field in result else result["figures"][0])[field] = value
    with pytest.raises(
        DataError, match=f"r.json is damaged, or not a result of edgeconv evaluate.*{words}"
    ):
        Evaluation.parse(json.dumps(plain), Path("r.json"))


def test_results_of_version_2_are_read(tmp_path: Path) -> None:
    """They had top-1 alone."""
    new = made_evaluation({"m": RIGHT})
    old = json.loads(new.model_dump_json())
    old["schema_version"] = 2
    del old["task"]
    for result in old["results"]:
        del result["figures"], result["scores"], result["root"], result["against_float"]
        result |= {"top1": 0.9, "correct": 900}
    assert Evaluation.parse(json.dumps(old), tmp_path / "r.json") == new
    old["results"][0]["top1"] = 0.8
    with pytest.raises(DataError, match="are not those of its top-1"):
        Evaluation.parse(json.dumps(old), tmp_path / "r.json")


def test_figures_without_an_interval() -> None:
    """Such as a mean average precision: the change counts as it is, on the same samples."""
    plain = made_evaluation({"m": RIGHT})
    (result,) = plain.results
    results = []
    for value in (0.5, 0.49):
        figure = result.decisive.model_copy(update={"name": "mAP", "value": value})
        changed = result.model_copy(update={"outcomes": None, "figures": (figure,)})
        results.append(plain.model_copy(update={"task": "detection", "results": (changed,)}))
    (comparison,) = compare_accuracy(*results).comparisons
    assert comparison.sentence() == "1.00 points less accurate"
    assert comparison.format_change() == "-1.00"
    assert comparison.outcome(LIMITS) is Outcome.FAIL
    assert comparison.outcome(Limits(0.03, 0.02)) is Outcome.PASS
    other = results[1].model_copy(update={"data_sha256": "1" * 64})
    assert compare_accuracy(results[0], other).comparisons[0].outcome(LIMITS) is (
        Outcome.INCONCLUSIVE
    )
    report = compare_accuracy(plain, results[1])
    assert report.comparisons[0].verdict is AccuracyVerdict.UNDECIDED
    assert "the task changed from classification to detection" in report.cautions[0]
    assert "--across" not in report.cautions[0]  # which has no task
