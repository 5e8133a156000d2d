"""A bundle as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping

from edgeconv.bundle import MIN_WITHIN_ONE_STEP, Artifact, Bundle, Verification
from edgeconv.report.tables import Column, console, table
from edgeconv.report.units import format_bytes, format_percent, significant


def print_bundle(bundle: Bundle, figures: Mapping[str, Verification | None] | None = None) -> None:
    """Print the files with their verification figures, and what a person should know besides.

    Args:
        figures: by artifact path, instead of those in the manifest.
    """
    manifest = bundle.manifest
    if figures is None:
        figures = {artifact.path: artifact.verification for artifact in manifest.artifacts}
    out = console()
    out.print(f"{manifest.model} → {bundle.path}")
    out.print(
        table(
            [
                "file",
                Column("size", numeric=True),
                Column(f"error vs {_oracle(manifest.reference)}", numeric=True),
                Column("SQNR", numeric=True),
                Column("same argmax", numeric=True),
                Column("formats agree", numeric=True),
                "lowest runtime",
            ],
            [_row(artifact, figures[artifact.path]) for artifact in manifest.artifacts],
        )
    )
    calibration = manifest.calibration
    if calibration:
        source = "synthetic inputs" if calibration.synthetic else calibration.source
        out.print(f"calibrated on {calibration.samples} samples: {source}")
    for artifact in manifest.artifacts:
        for reason in artifact.float_fallback:
            out.print(f"{artifact.path}: in float: {reason}")


def format_error(figures: Verification) -> str:
    """The largest difference as a share of the output's range."""
    error = figures.max_error
    return f"{error:.1e}" if error < 1e-3 else format_percent(error, places=2)


def _row(artifact: Artifact, figures: Verification | None) -> list[str]:
    if figures is None:
        measured = ["not verified", "", "", ""]
    else:
        agreement = figures.argmax_agreement
        measured = [
            format_error(figures),
            "equal" if figures.sqnr_db >= 200 else f"{significant(figures.sqnr_db)} dB",
            "–" if agreement is None else format_percent(agreement),
            _formats_agree(figures),
        ]
    return [artifact.path, format_bytes(artifact.bytes), *measured, artifact.lowest_runtime]


def _formats_agree(figures: Verification) -> str:
    """By the share within one output step, or else by how far the difference is below."""
    within, between = figures.within_one_step_of_other_format, figures.sqnr_db_to_other_format
    if between is None:
        return "–"
    if within is None or within < MIN_WITHIN_ONE_STEP:
        return f"{significant(between)} dB apart from each other"
    return f"{format_percent(within)} within 1 step"


def _oracle(name: str) -> str:
    return {"pytorch": "PyTorch", "onnxruntime": "the ONNX file"}[name]
