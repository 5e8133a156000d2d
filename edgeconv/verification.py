"""What verification found of a file, as the manifest has it."""

from __future__ import annotations

from edgeconv.units import format_percent
from edgeconv.versioned import Record


class OperatorFigures(Record):
    """How the operators of an integer file do, each on integers that the network itself produces.

    ``checked`` is their number. ``largest_steps`` is the largest difference from exact arithmetic
    in steps of the operator's result, at the node ``largest_at`` that comes closest to what is
    allowed or exceeds it most; for a float result a step is 1e-4 of its range. ``failed`` names
    the nodes that exceed what is allowed.
    """

    checked: int
    largest_steps: float
    largest_at: str | None
    failed: tuple[str, ...] = ()


class ProbeFigures(Record):
    """How far a file is off on inputs that are ``what``, such as a thousand times as large."""

    what: str
    max_error: float


def words_of_place(output: str, part: str | None) -> str:
    """How a message calls an output, or a part of one."""
    words = f"the output {output!r}"
    return words if part is None else f"the part {part!r} of {words}"


class PlaceFigures(Record):
    """What a file keeps of an output, or of the ``part`` of it that a concatenation put there.

    Elements that a network multiplies by factors far from the others are a part, too.
    ``variation_sqnr_db`` is the ratio of the place without its mean over the samples; None of a
    single sample, of an integer output, and of what is the same for all samples. ``right_share`` is
    the share of the elements of an integer or boolean output that are right; None of a float one.
    """

    output: str
    part: str | None = None
    sqnr_db: float
    variation_sqnr_db: float | None = None
    right_share: float | None = None

    @property
    def kept(self) -> str:
        """How a message says what is kept: in dB, or how many elements are right."""
        if self.right_share is None:
            return f"SQNR {self.sqnr_db:.1f} dB"
        return f"{format_percent(self.right_share)} of the elements right"

    @property
    def words(self) -> str:
        """How a message calls it."""
        return words_of_place(self.output, self.part)


class Verification(Record):
    """Figures of one artifact against PyTorch on its own runtime.

    ``max_error`` is the largest absolute difference divided by the range of the reference's
    output (1e9 for a NaN or infinity); ``sqnr_db`` the signal-to-quantization-noise ratio, that of
    the worst place: of an output, or of a part of one that a concatenation makes;
    ``argmax_agreement`` the share of samples with the same largest output, or the same label (None
    where the output is neither a vector of scores nor a label). ``median_sqnr_db`` and
    ``worst_sqnr_db`` are the ratios of the median and of the worst sample, ``variation_sqnr_db``
    is that of the output without its mean over the samples; each is that of the worst output, and
    None where there is no such figure.
    ``worst_output`` is the name of the output with the lowest ratio, where there are several, and
    ``places`` has the ratio of every output and of every part of one, where there are several.
    ``probe`` is what a float32 file fails on, where that is no sample.
    ``keeps_nothing`` says of a quantized file that one of them has no more signal than noise, or
    that the largest output is where chance would put it, unless the network itself amplifies small
    differences: ``rounded_inputs_sqnr_db`` is then the ratio that the float network keeps of the
    worst output with nothing but its inputs in 8 bits, where a file has less than 10 dB.
    Elements of an integer or boolean output are right or wrong: each wrong one is noise as large
    as the signal of a right one, and ``max_error`` is the share of the wrong ones.

    Integer files have more: ``exact_sqnr_db`` is the ratio that exact arithmetic on their integers
    would keep, ``operators`` how their operators do one by one. The fields ``*_other_format``
    compare them with the file of the other format: the share of outputs within one output step,
    and the SQNR of the difference.
    """

    passed: bool
    runtime: str
    samples: int
    max_error: float
    sqnr_db: float
    argmax_agreement: float | None
    within_one_step_of_other_format: float | None = None
    sqnr_db_to_other_format: float | None = None
    median_sqnr_db: float | None = None
    worst_sqnr_db: float | None = None
    variation_sqnr_db: float | None = None
    worst_output: str | None = None
    places: tuple[PlaceFigures, ...] = ()
    probe: ProbeFigures | None = None
    keeps_nothing: bool = False
    rounded_inputs_sqnr_db: float | None = None
    exact_sqnr_db: float | None = None
    operators: OperatorFigures | None = None

    @property
    def worst_place(self) -> PlaceFigures | None:
        """The place with the lowest ratio, where there are several."""
        return min(self.places, key=lambda place: place.sqnr_db, default=None)
