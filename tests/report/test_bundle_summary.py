"""The table of a bundle's files, and what it says of operators in float."""

from __future__ import annotations

import pytest

from edgeconv.bundle import AccuracyStep, Artifact, Calibration, Format, Precision
from edgeconv.export.warnings import warn_of_poor_accuracy
from edgeconv.progress import TRYING
from edgeconv.report.bundle import (
    certainty_lines,
    float_lines,
    format_error,
    formats_agree,
    loss_lines,
    tried_table,
    worst_lines,
)
from edgeconv.verification import PlaceFigures, Verification
from support.manifests import made_artifact


def artifact(
    path: str, format: Format, *float_fallback: str, precision: Precision = Precision.INT8
) -> Artifact:
    return made_artifact(path, format, precision, float_fallback=float_fallback)


def figures(within: float | None, between: float | None, error: float = 0.5) -> Verification:
    return Verification(
        passed=True,
        runtime="r",
        samples=1,
        max_error=error,
        sqnr_db=20,
        argmax_agreement=None,
        within_one_step_of_other_format=within,
        sqnr_db_to_other_format=between,
    )


def test_a_node_in_both_formats_is_named_once_with_the_first_reason() -> None:
    files = [
        artifact("a.onnx", Format.ONNX, "d (Div): no integers", "e (Erf): no integers"),
        artifact("a.tflite", Format.TFLITE, "d (Div): its input is float", "f (Sin): other"),
    ]
    assert float_lines(files) == [
        "a.onnx, a.tflite: in float: d (Div): no integers",
        "a.onnx: in float: e (Erf): no integers",
        "a.tflite: in float: f (Sin): other",
    ]


def test_nodes_with_one_reason_share_a_line() -> None:
    files = [artifact("a.onnx", Format.ONNX, "d (Div): why", "e (Erf): why")]
    assert float_lines(files) == ["a.onnx: in float: d (Div), e (Erf): why"]


def test_of_many_nodes_the_first_are_named() -> None:
    names = [f"act{i} (HardSwish)" for i in range(28)]
    file = artifact("a.tflite", Format.TFLITE, *(f"{name}: why" for name in names))
    named = ", ".join(names[:6])
    assert float_lines([file]) == [f"a.tflite: in float: {named}, and 22 more: why"]


def test_what_only_xnnpack_spares_from_float_is_named_too() -> None:
    file = artifact("a.tflite", Format.TFLITE, "d (Div): why")
    file = file.model_copy(update={"tables": ("h (HardSwish)", "s (Selu)")})
    assert float_lines([file]) == [
        "a.tflite: in float: d (Div): why",
        "a.tflite: in float: h (HardSwish), s (Selu): between DEQUANTIZE and QUANTIZE, which "
        "XNNPACK replaces with a table in int8",
    ]


def test_precisions_are_told_apart() -> None:
    files = [
        artifact("a.onnx", Format.ONNX, "d (Div): why"),
        artifact("b.onnx", Format.ONNX, "d (Div): why", precision=Precision.INT8_DYNAMIC),
    ]
    assert len(float_lines(files)) == 2


@pytest.mark.parametrize(
    ("within", "between", "text"),
    [
        (None, None, "–"),
        (None, 200, "equal"),
        (1.0, 200, "equal"),
        (1.0, 60, "100.0% within 1 step"),
        (0.5, 41, "to 41.0 dB"),
        (None, 153, "to 153 dB"),
    ],
)
def test_how_far_the_formats_agree(within: float | None, between: float | None, text: str) -> None:
    assert formats_agree(figures(within, between)) == text


def test_no_error() -> None:
    assert format_error(figures(None, None, 0.0)) == "none"
    assert format_error(figures(None, None, 1e-7)) == "1.0e-07"


def calibration(samples: int, held_out: int, *, synthetic: bool = False) -> Calibration:
    return Calibration(
        source="x",
        synthetic=synthetic,
        samples=samples,
        names=(),
        skipped=(),
        sha256="",
        method="minmax",
        held_out=held_out,
    )


def verified(samples: int, agreement: float | None) -> list[Artifact]:
    found = figures(1.0, 60).model_copy(update={"samples": samples, "argmax_agreement": agreement})
    made = artifact("a.onnx", Format.ONNX)
    return [made.model_copy(update={"verification": found})]


def test_figures_of_seen_samples_are_called_so() -> None:
    (line,) = certainty_lines(calibration(3, 0), verified(3, 1.0))
    assert "3 samples that calibration saw" in line


def test_few_samples_say_what_they_leave_open() -> None:
    of, open_ends = certainty_lines(calibration(12, 4), verified(4, 1.0))
    assert "4 samples that calibration did not see" in of
    assert "fewer than 64 samples" in open_ends
    assert "even 4 of 4 with the same argmax would prove no more than 47%" in open_ends
    assert "argmax" not in certainty_lines(calibration(12, 4), verified(4, None))[1]


def test_many_samples_leave_nothing_open() -> None:
    (line,) = certainty_lines(calibration(128, 16), verified(16, 1.0))
    assert "16 samples that calibration did not see" in line
    assert certainty_lines(calibration(128, 16, synthetic=True), verified(16, 1.0)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sqnr_db": 5.0}, "a.onnx keeps little of the network: SQNR 5.0 dB"),
        (
            {
                "sqnr_db": 5.0,
                "places": (
                    PlaceFigures(output="boxes", sqnr_db=47.0),
                    PlaceFigures(output="scores", sqnr_db=9.0),
                    PlaceFigures(output="scores", part="cat", sqnr_db=5.0),
                ),
            },
            "a.onnx keeps little of the part 'cat' of the output 'scores' (SQNR 5.0 dB), "
            "the output 'scores' (SQNR 9.0 dB)",
        ),
        (
            {"sqnr_db": 58.0, "variation_sqnr_db": 7.6},
            "keeps little of what differs between samples: SQNR 7.6 dB",
        ),
        (
            {
                "sqnr_db": 9.0,
                "places": (PlaceFigures(output="mask", sqnr_db=9.0, right_share=0.874),),
            },
            "keeps little of the output 'mask' (87.4% of the elements right)",
        ),
        ({"sqnr_db": 20.0, "variation_sqnr_db": 15.0}, ""),
        ({"sqnr_db": 60.0, "variation_sqnr_db": None}, ""),
        (
            {
                "sqnr_db": 9.0,
                "places": (
                    PlaceFigures(output="boxes", sqnr_db=9.0, variation_sqnr_db=3.0),
                    PlaceFigures(output="age", sqnr_db=58.0, variation_sqnr_db=7.6),
                    PlaceFigures(output="grid", sqnr_db=58.0),
                ),
            },
            "keeps little of what differs between samples: the output 'age' (SQNR 7.6 dB without "
            "its mean)",
        ),
    ],
)
def test_a_file_that_keeps_little_is_pointed_out(
    changes: dict[str, object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A regression of 293 ± 0.3 has 58 dB, and its variation may be lost all the same."""
    measured = figures(None, None).model_copy(update=changes)
    poor = artifact("a.onnx", Format.ONNX).model_copy(update={"verification": measured})
    warn_of_poor_accuracy([poor])
    assert words in caplog.text
    assert bool(caplog.text) == bool(words)


def test_the_lowest_place_of_integers_is_counted() -> None:
    measured = figures(None, None).model_copy(
        update={
            "places": (
                PlaceFigures(output="y", sqnr_db=30.0),
                PlaceFigures(output="mask", sqnr_db=11.2, right_share=0.924),
            )
        }
    )
    file = artifact("a.onnx", Format.ONNX)
    assert worst_lines([(file, measured)]) == [
        "lowest SQNR: the output 'mask': 92.4% of the elements right in a.onnx"
    ]


def test_only_an_export_knows_how_long_its_steps_took() -> None:
    steps = [AccuracyStep(name="equalize", gain_db=1.0, uncertainty_db=0.25, kept=True)]
    headers = [column.header for column in tried_table(steps, None).columns]
    assert list(map(str, headers)) == ["tried for int8", "gain on unseen samples", ""]
    timed = tried_table(steps, {f"{TRYING}equalize": 2.0})
    assert [str(next(iter(column.cells))) for column in timed.columns] == [
        "equalize",
        "+1.0 ± 0.2 dB",
        "2.0 s",
        "kept",
    ]


def test_a_gain_that_is_left_out_says_what_loses_by_it() -> None:
    gaining = AccuracyStep(name="a", gain_db=1.0, uncertainty_db=0.2, kept=False, loss_db=0.31)
    part = "the part 'boxes' of the output 'y'"
    ungained = AccuracyStep(name="b", gain_db=0.0, uncertainty_db=0.2, kept=False)
    refit = gaining.model_copy(update={"loss_db": None, "refit_loss_db": 1.24})
    assert loss_lines([refit]) == [
        "left out in spite of its gain: a, by which the typical sample loses 1.2 dB once they are "
        "fitted to all samples"
    ]
    assert loss_lines([gaining.model_copy(update={"losing_output": part}), ungained, gaining]) == [
        f"left out in spite of its gain: a, by which {part} loses 0.3 dB",
        "left out in spite of its gain: a, by which all samples together lose 0.3 dB",
    ]
