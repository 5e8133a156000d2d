"""A bundle as a person sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeconv.bundle import MIN_WITHIN_ONE_STEP, Artifact, Bundle, Verification
from edgeconv.metrics import EQUAL_DB
from edgeconv.report.tables import Column, console, table
from edgeconv.units import format_bytes, format_percent, significant


def print_bundle(bundle: Bundle, figures: Mapping[str, Verification | None] | None = None) -> None:
    """Print the files with their verification figures, and what a person should know besides.

    Args:
        bundle: The bundle.
        figures: Figures by artifact path, instead of those in the manifest.
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
    for line in float_lines(manifest.artifacts):
        out.print(line)


def float_lines(artifacts: Sequence[Artifact]) -> list[str]:
    """What runs in float in which files, a line for each reason.

    Where both formats name a node, the reason of the first counts: it is the quantizer's, and the
    other follows from it.
    """
    files: dict[tuple[str, str], list[str]] = {}
    reasons: dict[tuple[str, str], str] = {}
    for artifact in artifacts:
        for entry in artifact.float_fallback:
            node, _, reason = entry.partition(": ")
            key = (artifact.precision.value, node)
            files.setdefault(key, []).append(artifact.path)
            reasons.setdefault(key, reason)
    nodes: dict[tuple[str, str], list[str]] = {}
    for key, paths in files.items():
        nodes.setdefault((", ".join(paths), reasons[key]), []).append(key[1])
    return [f"{where}: in float: {', '.join(n)}: {why}" for (where, why), n in nodes.items()]


def format_error(figures: Verification) -> str:
    """The largest difference as a share of the output's range."""
    error = figures.max_error
    if error == 0:
        return "none"
    return f"{error:.1e}" if error < 1e-3 else format_percent(error, places=2)


def _row(artifact: Artifact, figures: Verification | None) -> list[str]:
    if figures is None:
        measured = ["not verified", "", "", ""]
    else:
        agreement = figures.argmax_agreement
        measured = [
            format_error(figures),
            "equal" if figures.sqnr_db >= EQUAL_DB else f"{significant(figures.sqnr_db)} dB",
            "–" if agreement is None else format_percent(agreement),
            formats_agree(figures),
        ]
    return [artifact.path, format_bytes(artifact.bytes), *measured, artifact.lowest_runtime]


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


def _oracle(name: str) -> str:
    return {"pytorch": "PyTorch", "onnxruntime": "the ONNX file"}.get(name, name)
