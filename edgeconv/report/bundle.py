"""A bundle as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from edgeconv.bundle import (
    MIN_WITHIN_ONE_STEP,
    AccuracyStep,
    Artifact,
    Bundle,
    Calibration,
    Format,
    Manifest,
    Precision,
)
from edgeconv.metrics import EQUAL_DB
from edgeconv.progress import TRYING
from edgeconv.report.in_float import few
from edgeconv.report.output import echo_sentence
from edgeconv.report.stacked import stacked
from edgeconv.report.tables import Column, console
from edgeconv.units import format_bytes, format_percent, format_samples, significant
from edgeconv.verification import Verification

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

# With so many samples ranges settle, and gains of a few tenths of a decibel show.
_ENOUGH_SAMPLES = 64
_CHANCE = 0.05
_TABLE = "between DEQUANTIZE and QUANTIZE, which XNNPACK replaces with a table in int8"


def print_bundle(
    bundle: Bundle,
    figures: Mapping[str, Verification | None] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> None:
    """Print the files with their verification figures, and what a person should know besides.

    Args:
        bundle: The bundle.
        figures: Figures by artifact path, instead of those in the manifest.
        seconds: How long each step of the export took, by its name in the progress.
    """
    manifest = bundle.manifest
    out = console()
    out.print(f"{manifest.model} → {bundle.path}")
    out.print(f"against {_oracle(manifest)}:")
    out.print(stacked(*accuracy_cells(manifest.artifacts, figures)))
    out.print(stacked(*file_cells(manifest.artifacts, figures)))
    for line in worst_lines([(a, _figures(a, figures)) for a in manifest.artifacts]):
        echo_sentence(line)
    for runtime in dict.fromkeys(artifact.lowest_runtime for artifact in manifest.artifacts):
        paths = [a.path for a in manifest.artifacts if a.lowest_runtime == runtime]
        echo_sentence(f"from {runtime} on: {', '.join(paths)}")
    calibration = manifest.calibration
    if calibration:
        source = "synthetic inputs" if calibration.synthetic else calibration.source
        echo_sentence(f"calibrated on {format_samples(calibration.samples)}: {source}")
        for line in certainty_lines(calibration, manifest.artifacts):
            echo_sentence(line)
        if calibration.steps:
            out.print(tried_table(calibration.steps, seconds))
            for line in loss_lines(calibration.steps):
                echo_sentence(line)
        if calibration.layers:
            rows = [
                [each.name, each.precision, each.weights, each.activations, str(len(each.nodes))]
                for each in calibration.layers
            ]
            out.print(stacked(_LAYERS, rows))
    halved = [a.path for a in manifest.artifacts if _computes_in_half(a)]
    if halved and manifest.target is not None and manifest.target.half_arithmetic:
        echo_sentence(f"{', '.join(halved)}: LiteRT computes it in half precision on the target")
    for artifact in manifest.artifacts:
        if artifact.format is Format.ONNX and artifact.precision is Precision.FLOAT16:
            echo_sentence(f"{artifact.path} is smaller, and on Arm no faster than float32")
    for line in float_lines(manifest.artifacts):
        echo_sentence(line)


def worst_lines(pairs: Sequence[tuple[Artifact, Verification | None]]) -> list[str]:
    """Where the lowest SQNR is, for files of a reduced precision whose outputs have several places.

    Those with the same place share a line.
    """
    places: dict[str, list[str]] = {}
    for artifact, figures in pairs:
        worst = None if figures is None else figures.worst_place
        if worst is not None and artifact.precision is not Precision.FLOAT32:
            places.setdefault(worst.words, []).append(
                f"{_decibels(worst.sqnr_db) if worst.right_share is None else worst.kept} in "
                f"{artifact.path}"
            )
    return [f"lowest SQNR: {place}: {', '.join(files)}" for place, files in places.items()]


def float_lines(artifacts: Sequence[Artifact]) -> list[str]:
    """What runs in float in which files, a line for each reason; the manifest names them all.

    Where both formats name a node, the reason of the first counts: it is the quantizer's, and the
    other follows from it.
    """
    files: dict[tuple[str, str], dict[str, None]] = {}
    reasons: dict[tuple[str, str], str] = {}
    for artifact in artifacts:
        for entry in (*artifact.float_fallback, *(f"{name}: {_TABLE}" for name in artifact.tables)):
            node, _, reason = entry.partition(": ")
            key = (artifact.precision.value, node)
            files.setdefault(key, {})[artifact.path] = None
            reasons.setdefault(key, reason)
    nodes: dict[tuple[str, str], list[str]] = {}
    for key, paths in files.items():
        nodes.setdefault((", ".join(paths), reasons[key]), []).append(key[1])
    return [f"{where}: in float: {few(names)}: {why}" for (where, why), names in nodes.items()]


def format_error(figures: Verification) -> str:
    """The largest difference as a share of the output's range."""
    error = figures.max_error
    if error == 0:
        return "none"
    return f"{error:.1e}" if error < 1e-3 else format_percent(error, places=2)


_LAYERS = (
    Column("layers of int8 files"),
    Column("precision"),
    Column("weights"),
    Column("activations"),
    Column("nodes", numeric=True),
)
_ACCURACY = (
    Column("file"),
    Column("argmax", numeric=True),
    Column("SQNR", numeric=True),
    Column("median", numeric=True),
    Column("worst", numeric=True),
    Column("variation", numeric=True),
)
_FILES = (
    Column("file"),
    Column("size", numeric=True),
    Column("error", numeric=True),
    Column("operators", numeric=True),
    Column("formats agree", numeric=True),
)


def _accuracy(artifact: Artifact, figures: Verification | None) -> list[str]:
    if figures is None:
        return [artifact.path, "not verified", *[""] * 4]
    agreement = figures.argmax_agreement
    return [
        artifact.path,
        "–" if agreement is None else format_percent(agreement),
        _decibels(figures.sqnr_db),
        _decibels(figures.median_sqnr_db),
        _decibels(figures.worst_sqnr_db),
        _decibels(figures.variation_sqnr_db),
    ]


def _file(artifact: Artifact, figures: Verification | None) -> list[str]:
    return [
        artifact.path,
        format_bytes(artifact.bytes),
        "–" if figures is None else format_error(figures),
        _operators(figures),
        "–" if figures is None else formats_agree(figures),
    ]


def _operators(figures: Verification | None) -> str:
    """How far the operators of an integer file are off one by one, at the most."""
    if figures is None or figures.operators is None:
        return "–"
    steps = figures.operators.largest_steps
    return f"{steps:.3g} {'step' if steps == 1 else 'steps'}"


def tried_table(steps: Sequence[AccuracyStep], seconds: Mapping[str, float] | None) -> Table | Text:
    """What accuracy passes gained, and took; only an export knows how long."""
    columns = [Column("tried for int8"), Column("gain on unseen samples", numeric=True), Column("")]
    rows = [
        [
            step.name,
            f"{step.gain_db:+.1f} ± {step.uncertainty_db:.1f} dB",
            "kept" if step.kept else "left out",
        ]
        for step in steps
    ]
    if seconds is not None:
        columns.insert(2, Column("time", numeric=True))
        for step, row in zip(steps, rows, strict=True):
            took = seconds.get(f"{TRYING}{step.name}")
            row.insert(2, "–" if took is None else f"{took:.1f} s")
    return stacked(columns, rows)


def loss_lines(steps: Sequence[AccuracyStep]) -> list[str]:
    """What loses by that which the typical sample gains by, and which was left out for that."""
    return [
        f"left out in spite of its gain: {step.name}, {loss}"
        for step in steps
        if (loss := _loss(step)) is not None
    ]


def _loss(step: AccuracyStep) -> str | None:
    if step.loss_db is not None:
        place = step.losing_output
        who = "all samples together lose" if place is None else f"{place} loses"
        return f"by which {who} {step.loss_db:.1f} dB"
    if step.refit_loss_db is not None:
        return (
            f"by which the typical sample loses {step.refit_loss_db:.1f} dB once they are fitted "
            "to all samples"
        )
    return None


def _decibels(value: float | None) -> str:
    if value is None:
        return "–"
    return "equal" if value >= EQUAL_DB else f"{significant(value)} dB"


def _computes_in_half(artifact: Artifact) -> bool:
    return artifact.precision is Precision.FLOAT16 and artifact.format is Format.TFLITE


def accuracy_cells(
    artifacts: Sequence[Artifact], figures: Mapping[str, Verification | None] | None = None
) -> tuple[Sequence[Column], list[list[str]]]:
    """What each file keeps of the network; ``figures`` replace those of the artifacts."""
    return _ACCURACY, [_accuracy(a, _figures(a, figures)) for a in artifacts]


def file_cells(
    artifacts: Sequence[Artifact], figures: Mapping[str, Verification | None] | None = None
) -> tuple[Sequence[Column], list[list[str]]]:
    """The size of each file, and how it does on its runtime."""
    return _FILES, [_file(a, _figures(a, figures)) for a in artifacts]


def _figures(
    artifact: Artifact, figures: Mapping[str, Verification | None] | None
) -> Verification | None:
    return artifact.verification if figures is None else figures.get(artifact.path)


def certainty_lines(calibration: Calibration, artifacts: Sequence[Artifact]) -> list[str]:
    """What the figures of calibrated files are of, and what they leave open."""
    figures = [a.verification for a in artifacts if a.precision.calibrated and a.verification]
    if not figures or calibration.synthetic:
        return []
    samples, held = figures[0].samples, calibration.held_out
    if not held:
        return [
            f"the figures of int8 are of {format_samples(samples)} that calibration saw, and of "
            "others they may be much worse"
        ]
    lines = [f"the figures of int8 are of {format_samples(held)} that calibration did not see"]
    if calibration.samples + held < _ENOUGH_SAMPLES:
        open_ends = ["inputs beyond what calibration saw saturate"]
        if figures[0].argmax_agreement is not None:
            # The least share that shows no other argmax in so many samples in 5 % of cases.
            least = _CHANCE ** (1 / held)
            open_ends.append(
                f"even {held} of {held} with the same argmax would prove no more than "
                f"{format_percent(least, places=0)} (95 % confidence)"
            )
        open_ends.append("a pass that gains little looks like one that gains nothing")
        lines.append(
            f"with fewer than {_ENOUGH_SAMPLES} samples this stays open: " + "; ".join(open_ends)
        )
    return lines


def formats_agree(figures: Verification) -> str:
    """By the share within one output step, or else by how far the difference is below."""
    within, between = figures.within_one_step_of_other_format, figures.sqnr_db_to_other_format
    if between is None:
        return "–"
    if between >= EQUAL_DB:
        return "equal"
    if within is None or within < MIN_WITHIN_ONE_STEP:
        return f"to {significant(between)} dB"
    return f"{format_percent(within)} within 1 step"


def _oracle(manifest: Manifest) -> str:
    """What the files were held against, in words."""
    if manifest.reference != "onnxruntime":
        return {"pytorch": "PyTorch"}.get(manifest.reference, manifest.reference)
    if manifest.model.endswith(".onnx"):
        return "the ONNX file"
    # PyTorch cannot run a part of a module, or of a program.
    return "the part of the network that was exported, in float on ONNX Runtime"
