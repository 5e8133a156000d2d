"""What is said of a file that failed verification, and what to do about it."""

from __future__ import annotations

import numpy as np

from edgeconv.bundle import Artifact, Format, Precision
from edgeconv.errors import VerificationError
from edgeconv.export.cut_places import part_before
from edgeconv.export.graph_edit import LOSES
from edgeconv.export.quantize.parameters import MIN_SPAN
from edgeconv.export.tflite.builder import title
from edgeconv.export.verify.expected import Reference
from edgeconv.export.verify.first_difference import first_difference
from edgeconv.export.verify.kept import NOTHING_DB
from edgeconv.export.verify.overflow import Overflow, find_overflow
from edgeconv.export.verify.parity import MAX_ERROR
from edgeconv.export.verify.subnormal import decided_by_subnormals
from edgeconv.metrics import NOT_FINITE
from edgeconv.verification import Verification

_REPORT = "report it with the network: it is a fault of edgeconv or of a runtime"
OWN_SCALES = (
    "pass --split-outputs, so that each part of a concatenation is an output with a scale of its "
    "own, or leave --io out"
)
"""What to do where the parts of an integer output need different scales."""


def failure(
    artifact: Artifact, figures: Verification, runtime: str, reference: Reference | None = None
) -> VerificationError:
    """Make the error for a file whose figures did not pass.

    Args:
        artifact: The file.
        figures: Its figures.
        runtime: What computed the reference.
        reference: What the file was held against, where the network is at hand to explain a loss.
    """
    name, precision = artifact.path, artifact.precision
    if precision is Precision.FLOAT32:
        error, where = figures.max_error, ""
        if figures.probe is not None:
            error, where = figures.probe.max_error, f" on inputs {figures.probe.what}"
        by = f"by {error:.2g} of the output's range" if error < NOT_FINITE else "by NaN or infinity"
        if reference is not None and reference.narrow:
            return VerificationError(
                f"{name} differs from {runtime} {by}{where}: the network rounds to "
                f"{reference.narrow}, and the file computes in float32",
                hint="take the cast or autocast out of forward, and the files are held against "
                "the network in float32",
            )
        if (place := _subnormal_place(reference, artifact)) is not None:
            return VerificationError(
                f"{name} differs from {runtime} {by}{where}: {place} has numbers below 1.2e-38, "
                "the smallest of full precision, and LiteRT takes those as zero",
                hint="let an epsilon there be 1.2e-38 or more (torch.finfo(torch.float32).tiny), "
                "or pass --format onnx",
            )
        if (overflow := _overflow(reference)) is not None:
            return VerificationError(
                f"{name} differs from {runtime} {by}{where}: {overflow.place}", hint=overflow.remedy
            )
        return _unexplained(artifact, f"{name} differs from {runtime} {by}{where}", reference)
    operators, exact = figures.operators, figures.exact_sqnr_db
    if operators is not None and operators.failed:
        more = len(operators.failed) - 1
        others = f", and {more} more operators are off" if more else ""
        return VerificationError(
            f"{name}: {operators.largest_at} is up to {operators.largest_steps:.3g} steps off what "
            f"its integers and scales define, on {figures.runtime}{others}",
            hint=f"keep that operator in float with --keep-float, and {_REPORT}",
        )
    if figures.keeps_nothing:
        return _nothing_kept(artifact, figures, reference)
    if exact is not None:
        return VerificationError(
            f"{name} keeps {figures.sqnr_db:.1f} dB of the network on {figures.runtime}, where "
            f"its integers and scales should keep {exact:.1f} dB",
            hint="find the operator with edgeconv blame, keep it in float with --keep-float, and "
            f"{_REPORT}",
        )
    limit = MAX_ERROR.get(precision, NOT_FINITE)
    half = precision is Precision.FLOAT16
    advice = "try --precision float32" if half else f"try --precision float32, and {_REPORT}"
    return VerificationError(
        f"{name} differs from {runtime} by {figures.max_error:.2g} of the output's "
        f"range, more than {limit:g}",
        hint=advice,
    )


def _unexplained(
    artifact: Artifact, differs: str, reference: Reference | None
) -> VerificationError:
    """Name the operator at which a difference begins that float32 rounding does not explain."""
    message = f"{differs}, more than float32 rounding explains"
    if reference is None or reference.graph is None:
        return VerificationError(message, hint=_REPORT)
    tflite = artifact.format is Format.TFLITE
    samples = [*reference.inputs, *reference.probes.inputs]
    node = first_difference(reference.graph, samples) if tflite else None
    if node is not None:
        return VerificationError(
            f"{message}; it begins at {title(node)}",
            hint=f"replace it in the network, or {part_before(node)}; {_REPORT}",
        )
    other = "onnx" if tflite else "tflite"
    return VerificationError(
        message,
        hint=f"pass --format {other} if that file is verified, or export less of the network "
        f"(--cut-outputs) until it is; {_REPORT}",
    )


def _subnormal_place(reference: Reference | None, artifact: Artifact) -> str | None:
    """What computes numbers that only LiteRT takes as zero, if that decides an output."""
    if reference is None or reference.graph is None or artifact.format is not Format.TFLITE:
        return None
    samples = [*reference.inputs, *reference.probes.inputs]
    return decided_by_subnormals(reference.graph, samples) or None


def _overflow(reference: Reference | None) -> Overflow | None:
    """Where numbers exceed their type, on the samples or on the probes."""
    if reference is None or reference.graph is None:
        return None
    return find_overflow(reference.graph, [*reference.inputs, *reference.probes.inputs])


def _nothing_kept(
    artifact: Artifact, figures: Verification, reference: Reference | None
) -> VerificationError:
    message = (
        f"{artifact.path} keeps nothing of {_of_what(figures)}: SQNR {figures.sqnr_db:.1f} dB"
        f"{_argmax(figures)}"
    )
    if reference is None:
        return VerificationError(message, hint=_advice(artifact, figures))
    largest = max(float(np.abs(row[0]).max(initial=0)) for row in reference.outputs)
    if 0 < largest < MIN_SPAN:
        return VerificationError(
            f"{message}; the float network's own values fade to {largest:.1e}, and int8 has no "
            f"range below {MIN_SPAN:g}",
            hint="load trained weights: those of a fresh network may fade with its depth",
        )
    network = amplifies(figures)
    if not network:
        return VerificationError(message, hint=_advice(artifact, figures))
    return VerificationError(f"{message}; {network}", hint=trained_weights(artifact))


def trained_weights(artifact: Artifact) -> str:
    """What to do where the network itself loses what int8 loses."""
    return (
        "the network amplifies small differences of its inputs, as one with random weights may: "
        f"load trained weights, pass {_to_float(artifact)}, or take --precision float16 or int16x8"
    )


def _to_float(artifact: Artifact) -> str:
    """The option that leaves operators in float; more of them where repair has left some."""
    if any(LOSES in each for each in artifact.float_fallback):
        return "--min-sqnr, which leaves more operators in float"
    return "--repair (on from --effort 1), which leaves operators in float"


def amplifies(figures: Verification) -> str:
    """What is said of a network that amplifies, after what its file keeps; empty for others.

    A faulty operator would be amplified as well. The network is the cause only where the operators
    of the file were checked one by one, and none is off.
    """
    itself, operators = figures.rounded_inputs_sqnr_db, figures.operators
    if itself is None or operators is None or not operators.checked or operators.failed:
        return ""
    return (
        f"the float network itself keeps no more than {itself:.1f} dB when nothing but its inputs "
        f"is rounded to 8 bits, and none of the file's operators is off ({operators.checked} were "
        "checked one by one)"
    )


def _advice(artifact: Artifact, figures: Verification) -> str:
    worst = figures.worst_place
    integer = {info.name for info in artifact.outputs if info.scale is not None}
    if worst is not None and worst.part is not None and worst.output in integer:
        return OWN_SCALES
    return (
        f"check the calibration data, pass {_to_float(artifact)}, or keep the layers in float that "
        "`edgeconv blame` names (--keep-float)"
    )


def _of_what(figures: Verification) -> str:
    worst = figures.worst_place
    return "the network" if worst is None else worst.words


def _argmax(figures: Verification) -> str:
    if figures.argmax_agreement is None or figures.sqnr_db < NOTHING_DB:
        return ""
    return f", and {figures.argmax_agreement:.0%} of the same argmax, as by chance"
