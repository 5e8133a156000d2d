"""What an export warns of: weights, data and files that may be worth less than they seem."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from edgeconv.bundle import Artifact, Format, IoType, Precision, Target
from edgeconv.errors import Notice
from edgeconv.export.capture.guess import is_guess
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.integer_ranges import IntegerRange
from edgeconv.export.layer_rules import LayerPrecision
from edgeconv.export.lost_halves import lost_halves
from edgeconv.export.quantize import QuantizedModel
from edgeconv.export.request import ResolvedRequest
from edgeconv.export.small_products import slow_small_products
from edgeconv.export.target import caution, slow_float16, slow_int8
from edgeconv.export.verify.failure import OWN_SCALES, amplifies, trained_weights
from edgeconv.metrics import POOR_SQNR_DB
from edgeconv.preprocessing import Preprocessing
from edgeconv.units import format_percent
from edgeconv.verification import Verification

logger = logging.getLogger(__name__)

# Where operators in float multiply as much, int8 saves less than half of the time.
_MOST_IN_FLOAT = 0.5
# How many files a warning names.
_NAMED_FILES = 3


def warn_of_source(source: Source, input_size: tuple[int, ...] | None) -> None:
    """Warn of random weights, and of an input that only looks like an image."""
    if source.untrained:
        option = "--pretrained" if source.published else "--weights"
        logger.warning(Notice(f"the weights of {source.spec} are random", f"pass {option}"))
    if input_size is not None and is_guess(source, input_size):
        height, width = input_size
        logger.warning(
            Notice(
                f"the input size {height}x{width} is taken for a color image, 1×3×{height}×{width}",
                "if the input is not an image, give its whole shape, batch first, with commas, as "
                "in --input-size 1,12,8",
            )
        )


def warn_of_device(request: ResolvedRequest, target: Target | None) -> None:
    """Warn of what may go wrong or be slow on the device although its runtimes load the files."""
    slow = slow_int8(request.runtime, request.precisions)
    if slow is not None and Format.TFLITE in request.formats:
        logger.warning(slow)
    if target is not None:
        warning = caution(target, request.formats, request.precisions)
        if warning is not None:
            logger.warning("%s", warning)
        slow = slow_float16(target, request.formats, request.precisions)
        if slow is not None:
            logger.warning(slow)


def warn_of_small_products(
    graph: ir.Model, artifacts: Sequence[Artifact], target: Target | None
) -> None:
    """Warn of an int8 file that ONNX Runtime runs slower than the float one on Arm."""
    if target is not None and target.architecture != "aarch64":
        return
    if any(a.format is Format.ONNX and a.precision is Precision.INT8 for a in artifacts):
        slow = slow_small_products(graph)
        if slow is not None:
            logger.warning(slow)


def warn_of_lost_halves(graph: ir.Model, artifacts: Sequence[Artifact]) -> None:
    """Warn of layers whose weights are too small for a float16 file."""
    if any(artifact.precision is Precision.FLOAT16 for artifact in artifacts):
        lost = lost_halves(graph)
        if lost is not None:
            logger.warning(lost)


def warn_of_normalized_integers(
    request: ResolvedRequest, preprocessing: Preprocessing | None
) -> None:
    """Warn that the integers of an input are not the bytes of a picture."""
    io, plain = request.asked.io, Preprocessing()
    if preprocessing is None or preprocessing.inside or io not in (IoType.UINT8, IoType.INT8):
        return
    if {*preprocessing.mean} == {*plain.mean} and {*preprocessing.std} == {*plain.std}:
        return
    logger.warning(
        Notice(
            f"with --io {io.value} the int8 files take normalized values in their own scale, and "
            "not the bytes of a picture",
            "pass --input image for files that take bytes",
        )
    )


def warn_of_random_integers(ranges: Mapping[str, IntegerRange]) -> None:
    """Warn that integer inputs are drawn at random.

    Random integers are weak evidence: we cannot know which values matter.
    """
    drawn = {name: found.values for name, found in ranges.items() if len(found.values) > 1}
    if drawn:
        named = ", ".join(f"{name!r} from {span[0]} to {span[-1]}" for name, span in drawn.items())
        logger.warning(Notice(f"integer inputs are random: {named}", "pass --calibration"))


def warn_of_data(
    batches: SampleBatches,
    preprocessing: Preprocessing | None,
    quantized: QuantizedModel | None,
    *,
    calibrates: bool,
) -> None:
    """Warn of samples that were skipped, look wrong or are too few."""
    samples = batches.samples
    if samples.skipped:
        more = ", …" if len(samples.skipped) > _NAMED_FILES else ""
        names = ", ".join(samples.skipped[:_NAMED_FILES]) + more
        logger.warning("unreadable images skipped (%d): %s", len(samples.skipped), names)
    if samples.pixels and preprocessing and preprocessing.assumed:
        logger.warning(
            Notice(
                "pixels were scaled to [0, 1] and nothing else",
                "pass --mean and --std if the network was trained with them",
            )
        )
    if batches.outlying:
        more = ", …" if len(batches.outlying) > _NAMED_FILES else ""
        named = ", ".join(
            f"{each.name} reaches {each.magnitude:.4g}, where the others reach {each.usual:.4g}"
            for each in batches.outlying[:_NAMED_FILES]
        )
        logger.warning(
            Notice(
                "calibration samples left out because they stand out from all others "
                f"({len(batches.outlying)}): {named}{more}",
                "check them",
            )
        )
    for finding in batches.findings():
        logger.warning(finding)
    if quantized is not None and quantized.unsettled and not samples.synthetic:
        logger.warning(Notice(quantized.unsettled, "pass more samples"))
    if samples.synthetic and calibrates:
        logger.warning(
            "int8 is calibrated on synthetic inputs, which say nothing about its accuracy"
        )


def warn_of_idle_rules(artifacts: Sequence[Artifact], quantized: QuantizedModel | None) -> None:
    """Warn of rules of precision by layer that change nothing in the files."""
    if quantized is None:
        return
    idle = [rule.name for rule, nodes in quantized.layers if not nodes]
    if idle:
        logger.warning(
            Notice(
                f"rules by layer that decide nothing: {', '.join(map(repr, idle))}, because "
                "earlier rules, --keep-float or tables that stay in float have all that they match",
                "the first rule that matches counts: state the narrower name first",
            )
        )
    wide = [
        r.name for r, nodes in quantized.layers if nodes and r.precision is LayerPrecision.INT16
    ]
    written = {artifact.precision for artifact in artifacts}
    if wide and Precision.INT16X8 in written and Precision.INT8 not in written:
        logger.warning(
            Notice(
                f"rules by layer that change nothing: {', '.join(map(repr, wide))}, because "
                "int16x8 files are in int16 everywhere",
                "add --precision int8, or leave these rules out",
            )
        )


def warn_of_float_fallback(artifacts: Sequence[Artifact], quantized: QuantizedModel | None) -> None:
    """Warn of quantized files in which operators run in float, and where those do most of it."""
    files = [a.path for a in artifacts if a.precision.calibrated and a.float_fallback]
    if not files:
        return
    names = " and ".join(files)
    if quantized is not None and quantized.macs_in_float >= _MOST_IN_FLOAT:
        share = format_percent(quantized.macs_in_float)
        logger.warning(
            Notice(
                f"operators with {share} of the network's multiplications run in float in {names}: "
                "int8 gains little speed in this network",
                "the summary and the manifest name them; --precision float16 and int8-dynamic may "
                "be as fast, and keep more",
            )
        )
        return
    logger.warning(
        "some operators run in float in %s: the summary and the manifest name them", names
    )


def warn_of_poor_accuracy(artifacts: Sequence[Artifact]) -> None:
    """Warn of files of a reduced precision that keep little of the network."""
    for artifact in artifacts:
        figures = artifact.verification
        if figures is None or artifact.precision is Precision.FLOAT32:
            continue
        advice = (
            "check the calibration data and its preprocessing, and run `edgeconv blame`; where "
            "nothing is wrong, --min-sqnr leaves operators in float, and --precision int16x8, "
            "int8-dynamic and float16 keep more"
            if artifact.precision.calibrated
            else "try --precision float16"
        )
        if figures.sqnr_db < POOR_SQNR_DB:
            poor, remedy = _poor_places(artifact, figures, advice)
            network = amplifies(figures)
            if poor and network:
                poor, remedy = f"{poor}; {network}", trained_weights(artifact)
            if poor:
                logger.warning(Notice(f"{artifact.path} keeps little of {poor}", remedy))
        if flat := _without_variation(figures):
            logger.warning(
                Notice(
                    f"{artifact.path} keeps little of what differs between samples: {flat}", advice
                )
            )


def _without_variation(figures: Verification) -> str:
    """The outputs and parts that keep much of nothing but their mean over the samples."""
    if not figures.places:
        whole = figures.variation_sqnr_db
        if whole is None or figures.sqnr_db < POOR_SQNR_DB:
            return ""
        is_lost = whole < POOR_SQNR_DB
        return f"SQNR {whole:.1f} dB without the mean of the output" if is_lost else ""
    flat = [
        place
        for place in figures.places
        if place.sqnr_db >= POOR_SQNR_DB
        and place.variation_sqnr_db is not None
        and place.variation_sqnr_db < POOR_SQNR_DB
    ]
    flat.sort(key=lambda place: place.variation_sqnr_db or 0.0)
    return ", ".join(
        f"{place.words} (SQNR {place.variation_sqnr_db:.1f} dB without its mean)" for place in flat
    )


def _poor_places(artifact: Artifact, figures: Verification, advice: str) -> tuple[str, str]:
    """The outputs and parts of which little is kept, worst first, and what to do about it.

    The worst one is left out where the failure has named it, of which nothing is kept.
    """
    poor = [place for place in figures.places if place.sqnr_db < POOR_SQNR_DB]
    poor.sort(key=lambda place: place.sqnr_db)
    named = figures.keeps_nothing and not (figures.operators and figures.operators.failed)
    if not poor:
        return "" if named else f"the network: SQNR {figures.sqnr_db:.1f} dB", advice
    if named:
        poor = [place for place in poor if place != figures.worst_place]
    integer = {info.name for info in artifact.outputs if info.scale is not None}
    if any(place.part is not None and place.output in integer for place in poor):
        advice = OWN_SCALES
    return ", ".join(f"{each.words} ({each.kept})" for each in poor), advice
