"""Compare what a written file computes on its runtime with what the network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import Artifact, Format, Precision
from edgeconv.errors import EdgeconvError, attempted
from edgeconv.export.apart import demand_survival
from edgeconv.export.data.samples import Sample
from edgeconv.export.joined import Parts
from edgeconv.export.runtimes import Runner, open_runner
from edgeconv.export.verify.beside import Beside
from edgeconv.export.verify.expected import Allowances, Outputs, Quantized, Reference, in_shape
from edgeconv.export.verify.infinities import without_shared_infinities
from edgeconv.export.verify.jumps import warn_of_jumps
from edgeconv.export.verify.kept import (
    Tolerance,
    is_noise,
    is_scores,
    keeps_enough,
    keeps_nothing,
    share_within_one_step,
    stacked_pairs,
)
from edgeconv.export.verify.rounded_inputs import amplified_db
from edgeconv.export.verify.rounding import EPSILON, largest_error
from edgeconv.export.verify.small_channels import warn_of_small_channels
from edgeconv.metrics import NOT_FINITE, POOR_SQNR_DB, Spread, Sqnr, relative_error, variation
from edgeconv.progress import Progress, no_progress
from edgeconv.verification import PlaceFigures, ProbeFigures, Verification

# A float32 file is judged by what float32 can promise (rounding.py). Where that is unknown, as the
# network does not run in float64, the limit is 1e-4 of the range of the output; the networks of
# the zoo have about 1e-6. Half precision rounds every value by 2**-11: 5e-4 of the range in a
# shallow network, ten times that after a hundred layers whose errors add up at random; this leaves
# a factor of four.
MAX_ERROR = {Precision.FLOAT32: 1e-4, Precision.FLOAT16: 2e-2}
# Units in the last place of the largest output that any float32 program may be off.
_SURELY_ROUNDING = 4
# Rounding may decide an argmax where two scores are as good as equal.
_MIN_EQUAL = 0.99
# A right float16 file may decide ties between two scores in another way.
_MIN_EQUAL_FLOAT16 = 0.9

# The runtime's name and the outputs of each sample; or why the file did not run.
Ran = tuple[str, list[Outputs]] | EdgeconvError
# Runs a file on samples.
Compute = Callable[[Artifact, Sequence[Sample]], tuple[str, list[Outputs]]]


@dataclass(frozen=True)
class Verified:
    """What became of files on their runtimes.

    Attributes:
        figures: The figures of those that ran, by path.
        refused: Why the others did not run, by path.
    """

    figures: dict[str, Verification]
    refused: dict[str, EdgeconvError]


def verify_artifacts(
    folder: Path,
    artifacts: Sequence[Artifact],
    reference: Reference,
    compute: Compute | None = None,
    progress: Progress = no_progress,
) -> Verified:
    """Run every file on its runtime, and compare it with the reference.

    Args:
        folder: Where the files are.
        artifacts: The files.
        reference: What they are compared with.
        compute: What runs them; None is the runtimes of this machine.
        progress: Called with (step, done, total), a file at a time.
    """
    with Beside() as beside:
        ran = _run_all(
            artifacts,
            reference,
            compute or partial(_run, folder, reference, beside.each),
            beside if compute is None else None,
            progress,
        )
    outputs: dict[str, list[Outputs]] = {}
    runtimes: dict[str, str] = {}
    refused: dict[str, EdgeconvError] = {}
    for artifact in artifacts:
        found = ran[artifact.path]
        if isinstance(found, EdgeconvError):
            refused[artifact.path] = found
        else:
            runtimes[artifact.path], outputs[artifact.path] = found
    sound = [artifact for artifact in artifacts if artifact.path in outputs]
    figures = {
        artifact.path: compare(
            outputs[artifact.path],
            reference,
            artifact.precision,
            runtimes[artifact.path],
            _other_format(artifact, sound, outputs),
            format=artifact.format,
            names=[info.name for info in artifact.outputs],
        )
        for artifact in sound
    }
    for artifact in sound:
        _warn(artifact, reference, outputs[artifact.path], figures[artifact.path])
    return Verified(figures, refused)


def _warn(
    artifact: Artifact, reference: Reference, outputs: list[Outputs], figures: Verification
) -> None:
    """Warn of what a file is right in all the same."""
    rows = reference.comparable(outputs)[: len(reference.inputs)]
    pairs = stacked_pairs(*without_shared_infinities(reference.outputs, rows))
    names = [info.name for info in artifact.outputs]
    if artifact.precision is Precision.FLOAT32 and figures.passed:
        warn_of_jumps(artifact.path, reference.runtime, names, pairs)
    elif artifact.precision.calibrated and reference.graph is not None:
        warn_of_small_channels(artifact.path, reference.graph, names, pairs)


def _run_all(
    artifacts: Sequence[Artifact],
    reference: Reference,
    compute: Compute,
    beside: Beside | None,
    progress: Progress,
) -> dict[str, Ran]:
    """Run every file.

    Args:
        artifacts: The files.
        reference: What they are compared with.
        compute: What runs a file.
        beside: A thread for the files of ONNX Runtime, if there is one. Those of LiteRT run here,
            one after the other: each is tried first in a copy of this process, in which LiteRT must
            not be at work.
        progress: Called with (step, done, total), a file at a time.

    Returns:
        What became of each file, by its path.
    """
    here, there = dict[str, Callable[[], Ran]](), dict[str, Callable[[], Ran]]()
    for artifact in artifacts:
        samples = reference.inputs
        if artifact.precision is Precision.FLOAT32:
            samples = [*samples, *reference.probes.inputs]
        run = partial(attempted, partial(compute, artifact, samples))
        if beside is not None and artifact.format is Format.ONNX:
            there[artifact.path] = beside.start(run)
        else:
            here[artifact.path] = run
    found = {}
    for done, (path, ran) in enumerate((here | there).items()):
        progress("Verifying", done, len(artifacts))
        found[path] = ran()
    return found


def _run(
    folder: Path,
    reference: Reference,
    each: Callable[[Sequence[Sample]], Iterator[Sample]],
    artifact: Artifact,
    samples: Sequence[Sample],
) -> tuple[str, list[Outputs]]:
    """Run a file on this machine; with the runtime's name.

    Raises:
        EdgeconvError: The runtime refuses the file.
        StoppedError: ``each``, which yields the samples, was stopped.
    """
    open_file = partial(
        open_runner,
        folder / artifact.path,
        artifact.format,
        artifact.inputs,
        artifact.outputs,
        reference.network,
    )
    if artifact.format is Format.TFLITE and artifact.precision.calibrated:
        attempt = partial(_run_once, open_file, samples[0])
        demand_survival(f"{artifact.path} on LiteRT", attempt)
    runner = open_file()
    return runner.name, [runner.run(sample) for sample in each(samples)]


def _run_once(open_file: Callable[[], Runner], sample: Sample) -> None:
    open_file().run(sample)


def _other_format(
    artifact: Artifact, artifacts: Sequence[Artifact], outputs: dict[str, list[Outputs]]
) -> list[Outputs] | None:
    """What the file of the other format and the same precision computed, if there is one."""
    for other in artifacts:
        if other.precision is artifact.precision and other.format is not artifact.format:
            return outputs[other.path]
    return None


def compare(
    outputs: list[Outputs],
    reference: Reference,
    precision: Precision,
    runtime: str,
    other: list[Outputs] | None = None,
    *,
    format: Format = Format.ONNX,
    names: Sequence[str] = (),
) -> Verification:
    """Compare the outputs of one file with the reference, and decide whether the file is right.

    Args:
        outputs: What the file computed for ``reference.inputs`` and, if it is a float32 file, for
            ``reference.probes``.
        reference: What the outputs are compared with.
        precision: The precision of the file, which decides what difference is allowed.
        runtime: What ran the file.
        other: What the file of the other format and the same precision computed.
        format: The format of the file.
        names: The names of its outputs.
    """
    expected = [*reference.outputs, *reference.probes.outputs]
    have_shapes = [[array.shape for array in row] for row in outputs] == [
        [array.shape for array in row] for row in expected[: len(outputs)]
    ]
    agreement = _argmax_agreement(reference, in_shape(outputs, expected))
    outputs = reference.comparable(outputs)
    outputs, probed = outputs[: len(reference.inputs)], outputs[len(reference.inputs) :]
    finite, outputs = without_shared_infinities(reference.outputs, outputs)
    reference = replace(reference, outputs=finite)
    expected = [*finite, *reference.probes.outputs]
    pairs = stacked_pairs(reference.outputs, outputs)
    spread = Spread.over(reference.outputs, outputs)
    names = names or [f"output {index}" for index in range(len(pairs))]
    everywhere = _places(pairs, names, reference.joined)
    places = reference.with_sqnr(everywhere)
    outputs_only = [place for place in places if place.part is None]
    figures = Verification(
        passed=False,
        runtime=runtime,
        samples=len(outputs),
        max_error=max(_largest_error(expected, got) for expected, got in pairs),
        sqnr_db=min(place.sqnr_db for place in places),
        argmax_agreement=agreement,
        median_sqnr_db=None if spread is None else spread.median_db,
        worst_sqnr_db=None if spread is None else spread.worst_db,
        variation_sqnr_db=None if spread is None else spread.variation_db,
        worst_output=min(outputs_only, key=lambda place: place.sqnr_db).output
        if len(outputs_only) > 1
        else None,
        places=tuple(places) if len(places) > 1 else (),
    )
    if precision is Precision.FLOAT32:
        beyond = beyond_rounding(
            [*outputs, *probed], expected, reference.allowances, len(reference.inputs)
        )
        passed = have_shapes and not beyond
        figures = figures.model_copy(update={"probe": _failed_probe(beyond, probed, reference)})
    elif precision is Precision.FLOAT16:
        passed = have_shapes and all(_is_half_precision(expected, got) for expected, got in pairs)
    else:
        ratios = [place.sqnr_db for place in everywhere]
        nothing = keeps_nothing(ratios, *pairs[0])
        itself = None
        if figures.sqnr_db < POOR_SQNR_DB:
            worst = min(places, key=lambda place: place.sqnr_db)
            itself = amplified_db(reference, list(names).index(worst.output))
        # An argmax by chance is no fault of a file where the network itself makes it so.
        nothing = nothing and (itself is None or is_noise(ratios))
        figures = _quantized_figures(figures, outputs, reference, precision, format, other)
        return figures.model_copy(
            update={
                "passed": figures.passed and not nothing,
                "keeps_nothing": nothing,
                "rounded_inputs_sqnr_db": itself,
            }
        )
    return figures.model_copy(update={"passed": passed})


def _places(
    pairs: Sequence[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    names: Sequence[str],
    joined: Sequence[Parts | None],
) -> list[PlaceFigures]:
    """What is kept of each output, and of each part of a joined one."""
    places = []
    for index, ((expected, got), name) in enumerate(zip(pairs, names, strict=True)):
        ratio = Sqnr.of_output(expected, got)
        places.append(_place(expected, got, ratio, name))
        parts = joined[index] if index < len(joined) else None
        if parts is not None:
            for (part, wanted), (_, computed) in zip(
                parts.of(expected), parts.of(got), strict=True
            ):
                ratio = Sqnr.between(wanted, computed)
                places.append(_place(wanted, computed, ratio, name, part))
    return places


def _place(
    expected: npt.NDArray[Any],
    got: npt.NDArray[Any],
    ratio: Sqnr,
    output: str,
    part: str | None = None,
) -> PlaceFigures:
    varies = None
    if len(expected) > 1 and expected.dtype.kind == "f" and expected.shape == got.shape:
        found = variation(expected, got)
        varies = found.db if found.signal > 0 else None
    right = None
    if expected.dtype.kind != "f" and ratio.signal:
        right = 1 - ratio.noise / ratio.signal
    return PlaceFigures(
        output=output,
        part=part,
        sqnr_db=ratio.db,
        variation_sqnr_db=varies,
        right_share=right,
    )


def _quantized_figures(
    figures: Verification,
    outputs: list[Outputs],
    reference: Reference,
    precision: Precision,
    format: Format,
    other: list[Outputs] | None,
) -> Verification:
    """Add what only a quantized file has, and judge it."""
    quantized = reference.quantized.get(precision, Quantized(()))
    exact = reference.comparable(quantized.outputs or other or [])
    other = reference.comparable(other) if other else exact
    if not exact:
        return figures.model_copy(update={"passed": figures.max_error < NOT_FINITE})
    operators = quantized.operators.get(format)
    tolerance = Tolerance.PREQUANTIZED if reference.prequantized else Tolerance.FIXED_SCALES
    if precision is Precision.INT8_DYNAMIC:
        tolerance = Tolerance.SCALES_AT_RUN_TIME
    keeps = keeps_enough(reference.outputs, exact, outputs, quantized.steps, tolerance)
    pairs = stacked_pairs(reference.outputs, exact)
    places = _places(pairs, [""] * len(pairs), reference.joined)
    return figures.model_copy(
        update={
            "passed": keeps and not (operators and operators.failed),
            "within_one_step_of_other_format": share_within_one_step(
                other, outputs, quantized.steps
            ),
            "sqnr_db_to_other_format": min(
                Sqnr.of_output(expected, got).db
                for expected, got in reference.with_sqnr(stacked_pairs(other, outputs))
            ),
            "exact_sqnr_db": min(place.sqnr_db for place in reference.with_sqnr(places)),
            "operators": operators,
        }
    )


def beyond_rounding(
    got: list[Outputs], expected: list[Outputs], allowances: Allowances, samples: int
) -> list[tuple[int, int]]:
    """The samples and outputs whose differences float32 rounding does not explain.

    A sample that is not finite is wrong; of a probe only the elements count that are. Nearly all
    integers and booleans must be equal; those of probes do not count, where an argmax may meet a
    tie.
    """
    wrong: list[tuple[int, int]] = []
    unsure: list[tuple[int, int, float]] = []
    for index, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        for output, (array, wanted) in enumerate(zip(ours, theirs, strict=True)):
            if wanted.dtype.kind != "f":
                if index < samples and wanted.size and np.mean(array == wanted) < _MIN_EQUAL:
                    wrong.append((index, output))
                continue
            if index < samples and not np.isfinite(wanted).all():
                wrong.append((index, output))
                continue
            error = largest_error(array, wanted)
            magnitude = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
            if error > _SURELY_ROUNDING * EPSILON * magnitude:
                unsure.append((index, output, error))
    if wrong or not unsure:
        return wrong
    for allowed in allowances:
        if allowed is None:
            return [
                (i, o)
                for i, o, _ in unsure
                if not relative_error(expected[i][o], got[i][o]) <= MAX_ERROR[Precision.FLOAT32]
            ]
        wrong = [(i, o) for i, o, error in unsure if not error <= allowed[i, o]]
        if not wrong:
            break
    return wrong


def _failed_probe(
    beyond: Sequence[tuple[int, int]], probed: Sequence[Outputs], reference: Reference
) -> ProbeFigures | None:
    """The first probe on which a file fails that is right on all samples."""
    if not beyond or beyond[0][0] < len(reference.inputs):
        return None
    index, output = beyond[0][0] - len(reference.inputs), beyond[0][1]
    expected, got = reference.probes.outputs[index][output], probed[index][output]
    finite = np.isfinite(expected)
    return ProbeFigures(
        what=reference.probes.what[index], max_error=relative_error(expected[finite], got[finite])
    )


def _largest_error(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """Relative to the range of a float output; the share of wrong elements of any other."""
    if expected.dtype.kind == "f":
        return relative_error(expected, got)
    return float(np.mean(expected != got)) if expected.size else 0.0


def _is_half_precision(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> bool:
    error = _largest_error(expected, got)
    if expected.dtype.kind == "f":
        return error <= MAX_ERROR[Precision.FLOAT16]
    return error <= 1 - _MIN_EQUAL_FLOAT16


def _argmax_agreement(reference: Reference, got: list[Outputs]) -> float | None:
    """The share of rows of the first output whose largest element is at the same index.

    Of labels and of the first of the best classes the share that are the same; None of what is
    neither scores nor labels.
    """
    first, second = stacked_pairs(reference.outputs, got[: len(reference.inputs)])[0]
    if reference.ranked:
        return float(np.mean(first[..., 0] == second[..., 0]))
    if first.ndim == 2 and first.dtype.kind in "iu":
        return float(np.mean(first == second))
    if not is_scores(first):
        return None
    return float(np.mean(first.argmax(-1) == second.argmax(-1)))
