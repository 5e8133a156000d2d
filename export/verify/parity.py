"""Compare what a written file computes on its runtime with what the network computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.bundle import MIN_WITHIN_ONE_STEP, Artifact, Precision, Verification
from edgeconv.errors import VerificationError
from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import Interface, open_runner
from edgeconv.export.verify.rounding import EPSILON, largest_error
from edgeconv.metrics import sqnr_db

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
# Where the share of equal outputs is less than MIN_WITHIN_ONE_STEP, the two formats must differ by
# less than a third of the error that quantization makes anyway. Deep networks with random weights
# may amplify single roundings beyond that (docs/rewrites.md); trained networks do not.
MIN_MARGIN_DB = 10.0
# Scales found at run time differ with every rounding before them, so that two int8-dynamic files
# may be as far from each other as two independent errors (3 dB), and a little more. The same holds
# for two files of a pre-quantized module, which both round in other places than PyTorch does.
INDEPENDENT_MARGIN_DB = -6.0
# A pre-quantized model has no float reference, so its quantization error is unknown. Values that
# differ by one step, a few in every layer, leave 40 dB in a shallow network and 20 in a deep one.
PREQUANTIZED_SQNR_DB = 15.0
# Stands for a NaN or an infinity among the outputs, which JSON has no number for.
NOT_FINITE = 1e9

Outputs = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class Quantized:
    """What the quantized files of one precision are compared with, beside the float network.

    Attributes:
        steps: The real size of one step of each output; None for a float output.
        outputs: The outputs of the quantized graph on ONNX Runtime, where there is no file of the
            other format to compare with; otherwise None.
    """

    steps: tuple[float | None, ...]
    outputs: list[Outputs] | None = None


@dataclass(frozen=True)
class Probes:
    """Further inputs for float32 files, with the network's outputs; see ``data/synthetic.py``.

    Attributes:
        inputs: The samples.
        outputs: The network's own outputs for each sample.
    """

    inputs: list[Sample]
    outputs: list[Outputs]


class Allowances:
    """The errors that float32 may make, [samples and probes, outputs], computed when first needed.

    Args:
        compute: Gives the array of :func:`edgeconv.export.verify.rounding.allowances`, or None
            where it cannot be had.
    """

    def __init__(self, compute: Callable[[], npt.NDArray[np.float64] | None]) -> None:
        self._compute = compute
        self.known: npt.NDArray[np.float64] | None = None
        self._asked = False

    def get(self) -> npt.NDArray[np.float64] | None:
        """Return the array, computing it at the first call."""
        if not self._asked:
            self._asked, self.known = True, self._compute()
        return self.known


@dataclass(frozen=True)
class Reference:
    """What the files are compared with.

    Attributes:
        runtime: What computed ``outputs``: pytorch, or onnxruntime for a network from an ONNX file.
        inputs: The samples, each a tuple of arrays in the network's own layout.
        outputs: The network's own outputs for each sample.
        quantized: What else the files of a quantized precision are compared with.
        prequantized: Whether the network was quantized before, so that ``outputs`` are not those of
            a float network.
        probes: Further samples for float32 files only.
        allowances: The errors that float32 may make in ``outputs`` and ``probes``.
        network: The network's inputs and outputs, with their layouts; None where all are NCHW.
    """

    runtime: str
    inputs: list[Sample]
    outputs: list[Outputs]
    quantized: Mapping[Precision, Quantized] = field(default_factory=dict)
    prequantized: bool = False
    probes: Probes = field(default_factory=lambda: Probes([], []))
    allowances: Allowances = field(default_factory=lambda: Allowances(lambda: None))
    network: Interface | None = None


def verify_artifacts(
    folder: Path, artifacts: Sequence[Artifact], reference: Reference
) -> dict[str, Verification]:
    """Run every file on its runtime.

    Returns:
        The figures, by the artifact's path.

    Raises:
        EdgeconvError: A runtime refuses its file.
    """
    outputs: dict[str, list[Outputs]] = {}
    runtimes: dict[str, str] = {}
    for artifact in artifacts:
        runner = open_runner(
            folder / artifact.path,
            artifact.format,
            artifact.inputs,
            artifact.outputs,
            reference.network,
        )
        samples = [*reference.inputs]
        if artifact.precision is Precision.FLOAT32:
            samples += reference.probes.inputs
        outputs[artifact.path] = [runner.run(sample) for sample in samples]
        runtimes[artifact.path] = runner.name
    return {
        artifact.path: compare(
            outputs[artifact.path],
            reference,
            artifact.precision,
            runtimes[artifact.path],
            _other_format(artifact, artifacts, outputs),
        )
        for artifact in artifacts
    }


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
) -> Verification:
    """Compare the outputs of one file with the reference, and decide whether the file is right.

    Args:
        outputs: What the file computed for ``reference.inputs`` and, if it is a float32 file, for
            ``reference.probes``.
        reference: What the outputs are compared with.
        precision: The precision of the file, which decides what difference is allowed.
        runtime: What ran the file.
        other: What the file of the other format and the same precision computed.
    """
    integers = reference.quantized.get(precision, Quantized(()))
    if other is None:
        other = integers.outputs
    outputs, probed = outputs[: len(reference.inputs)], outputs[len(reference.inputs) :]
    worst_error = max(
        _relative_error(expected, got) for expected, got in _pairs(reference.outputs, outputs)
    )
    sqnr = min(sqnr_db(expected, got) for expected, got in _pairs(reference.outputs, outputs))
    within = between = None
    if precision is Precision.FLOAT32:
        expected = [*reference.outputs, *reference.probes.outputs]
        passed = is_rounding(
            [*outputs, *probed], expected, reference.allowances, len(reference.inputs)
        )
    elif precision in MAX_ERROR:
        passed = all(
            _relative_error(expected, got) <= MAX_ERROR[precision]
            if expected.dtype.kind == "f"
            else _share_of_equal(expected, got) >= _MIN_EQUAL
            for expected, got in _pairs(reference.outputs, outputs)
        )
    elif other is None:
        passed = worst_error < NOT_FINITE
    else:
        within = _share_within_one_step(outputs, other, integers.steps)
        between = min(sqnr_db(expected, got) for expected, got in _pairs(other, outputs))
        own = max(
            sqnr,
            min(sqnr_db(expected, got) for expected, got in _pairs(reference.outputs, other)),
        )
        needed = own + MIN_MARGIN_DB
        if precision is Precision.INT8_DYNAMIC:
            needed = own + INDEPENDENT_MARGIN_DB
        elif reference.prequantized:
            needed = min(PREQUANTIZED_SQNR_DB, own + INDEPENDENT_MARGIN_DB)
        passed = (within or 0.0) >= MIN_WITHIN_ONE_STEP or between >= needed
    return Verification(
        passed=passed,
        runtime=runtime,
        samples=len(outputs),
        max_error=worst_error,
        sqnr_db=sqnr,
        argmax_agreement=_argmax_agreement(reference.outputs, outputs),
        within_one_step_of_other_format=within,
        sqnr_db_to_other_format=between,
    )


def failure(
    name: str, precision: Precision, figures: Verification, reference: str
) -> VerificationError:
    """Make the error for a file whose figures did not pass.

    Args:
        name: The file.
        precision: Its precision.
        figures: Its figures.
        reference: The runtime that computed the reference.
    """
    if precision is Precision.FLOAT32:
        return VerificationError(
            f"{name} differs from {reference} by {figures.max_error:.2g} of the output's range, "
            "more than float32 rounding explains",
            hint="report it, or pass --no-verify to keep the file",
        )
    if figures.sqnr_db_to_other_format is None:
        limit = MAX_ERROR.get(precision, NOT_FINITE)
        advice = "try --precision float32" if precision is Precision.FLOAT16 else "report it"
        return VerificationError(
            f"{name} differs from {reference} by {figures.max_error:.2g} of the output's range, "
            f"more than {limit:g}",
            hint=f"{advice}, or pass --no-verify to keep the file",
        )
    within = figures.within_one_step_of_other_format
    steps = "" if within is None else f"{within:.1%} of the outputs are within one step, and "
    return VerificationError(
        f"{name} and the {precision.value} file of the other format disagree: {steps}their "
        f"difference is only {figures.sqnr_db_to_other_format:.1f} dB below the signal, "
        f"their error {figures.sqnr_db:.1f} dB",
        hint="report the network, or pass --no-verify to keep the file",
    )


def is_rounding(
    got: list[Outputs], expected: list[Outputs], allowances: Allowances, samples: int
) -> bool:
    """Whether float32 rounding explains the differences between ``got`` and ``expected``.

    Only elements of ``expected`` that are finite count. Nearly all integers and booleans must be
    equal; those of probes do not count, where an argmax may meet a tie.
    """
    for index, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
        for output, (array, wanted) in enumerate(zip(ours, theirs, strict=True)):
            if wanted.dtype.kind != "f":
                if index < samples and _share_of_equal(wanted, array) < _MIN_EQUAL:
                    return False
                continue
            error = largest_error(array, wanted)
            magnitude = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0))
            if error <= _SURELY_ROUNDING * EPSILON * magnitude:
                continue
            allowed = allowances.get()
            if allowed is None:
                within = _relative_error(wanted, array) <= MAX_ERROR[Precision.FLOAT32]
            else:
                within = error <= allowed[index, output]
            if not within:
                return False
    return True


def _pairs(
    expected: list[Outputs], got: list[Outputs]
) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Stack the samples of each output of the network, expected and got."""
    return [
        (np.stack([sample[i] for sample in expected]), np.stack([sample[i] for sample in got]))
        for i in range(len(expected[0]))
    ]


def _relative_error(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    """The largest absolute difference over the range of ``expected``; NOT_FINITE for a NaN."""
    if expected.size == 0:
        return 0.0
    real, own = expected.astype(np.float64), got.astype(np.float64)
    spread = float(real.max() - real.min()) or float(np.abs(real).max()) or 1.0
    error = float(np.abs(real - own).max()) / spread
    return error if np.isfinite(error) else NOT_FINITE


def _share_of_equal(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    return float(np.mean(expected == got)) if expected.size else 1.0


def _share_within_one_step(
    a: list[Outputs], b: list[Outputs], steps: Sequence[float | None]
) -> float | None:
    """The share of all output values that differ by at most one step.

    Booleans have to be equal. Other outputs without a step do not count; None where no output does.
    """
    counted = [
        # A hundredth more than a step, for the rounding of float32 differences.
        x == y if step is None else np.abs(x - y) <= step * 1.01
        for (x, y), step in zip(_pairs(a, b), steps, strict=True)
        if step is not None or x.dtype == np.bool_
    ]
    if not counted:
        return None
    return float(np.mean(np.concatenate([part.ravel() for part in counted])))


def _argmax_agreement(expected: list[Outputs], got: list[Outputs]) -> float | None:
    """The share of rows of the first output whose largest element is at the same index.

    None unless the output is a matrix of scores.
    """
    first, second = _pairs(expected, got)[0]
    if first.ndim != 3 or first.shape[-1] < 2:
        return None
    return float(np.mean(first.argmax(-1) == second.argmax(-1)))
