"""The whole export, top to bottom: capture, optimize, quantize, write, verify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from edgeconv.bundle import (
    MANIFEST_NAME,
    RANGES_NAME,
    RECIPE_NAME,
    REFERENCE_NAME,
    Artifact,
    Format,
    Manifest,
    Precision,
    sha256_of,
)
from edgeconv.calibrated_ranges import MOST_ACTIVATIONS, CalibratedRanges
from edgeconv.checksums import write_checksums
from edgeconv.companion.write import write_companions
from edgeconv.errors import EdgeconvError
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.example import example_samples
from edgeconv.export.data.feed import open_batches
from edgeconv.export.data.integer_ranges import integer_ranges
from edgeconv.export.data.samples import batch_size
from edgeconv.export.layer_rules import ALL_IN_INT8, write_layers
from edgeconv.export.manifest import begun_manifest, calibration_of, description, finished_manifest
from edgeconv.export.precision import (
    QuantizedGraph,
    Variant,
)
from edgeconv.export.prepare import Prepared, prepare
from edgeconv.export.quantize import QuantizedModel, Surveyed
from edgeconv.export.request import ResolvedRequest
from edgeconv.export.search import FrontPoint
from edgeconv.export.tensor_info import input_infos
from edgeconv.export.tflite import demand_known
from edgeconv.export.verify.batches import verified_at_batches
from edgeconv.export.verify.beside import Beside
from edgeconv.export.verify.check_export import NetworkRun, run_network, run_reference
from edgeconv.export.verify.reference import Oracle, save_reference
from edgeconv.export.warnings import (
    warn_of_data,
    warn_of_float_fallback,
    warn_of_idle_rules,
    warn_of_lost_halves,
    warn_of_poor_accuracy,
    warn_of_random_integers,
    warn_of_small_products,
)
from edgeconv.export.writer import Writer


@dataclass(frozen=True)
class Outcome:
    """What an export wrote.

    Attributes:
        manifest: Describes the files that are right.
        failures: Why each of the others failed, by its name.
        failed: Those among them that were written and run.
        front: What accuracy costs by layer, where that was searched.
        repaired: Whether repair left operators of the int8 files in float.
    """

    manifest: Manifest
    failures: dict[str, EdgeconvError]
    failed: tuple[Artifact, ...]
    front: tuple[FrontPoint, ...] = ()
    repaired: bool = False


def run(
    request: ResolvedRequest,
    source: Source,
    folder: Path,
    *,
    search: bool = False,
    surveyed: Surveyed | None = None,
    trial: Callable[[Manifest, Oracle], None] | None = None,
) -> Outcome:
    """Carry out a request: write every right file and the manifest into ``folder``.

    A precision that fails does not keep the others from being written.

    Args:
        request: What to export.
        source: The network.
        folder: Where the files go.
        search: Whether to find the front of accuracy against cost, too.
        surveyed: What :func:`survey_part` found on all parts of the calibration data, if it did.
        trial: Refuses the network, by its description and what computes its outputs on a batch,
            before anything is written or calibrated.

    Raises:
        UsageError: The request does not go with the network.
        EdgeconvError: Nothing is right, or what all files start from failed.
    """
    progress = request.asked.progress
    progress("Capturing", 0, 1)
    prepared = prepare(request, source)
    request = prepared.request
    manifest = begun_manifest(prepared, source)
    writer = Writer(request, folder, description(manifest), prepared.pictures, prepared.head)
    _demand_quantizable(prepared, writer)
    batches = _open_batches(prepared, source)
    if trial is not None:
        trial(manifest, prepared.of_batch(batch_size(manifest.inputs) or 1))
    # Float files come first: what cannot be written is refused before a calibration.
    variants = writer.variants(prepared.graph, None, calibrated=False)
    artifacts = writer.write(variants)
    quantized, ran = _quantize(writer, prepared, batches, surveyed)
    warn_of_data(batches, prepared.preprocessing, quantized, calibrates=request.calibrates)
    integers = writer.variants(prepared.graph, quantized, calibrated=True)
    artifacts += writer.write(integers)
    front = writer.front(prepared.scores, batches) if search and quantized is not None else ()
    if not artifacts:
        raise next(iter(writer.failures.values()))
    artifacts.sort(key=lambda artifact: request.precisions.index(artifact.precision))
    warn_of_float_fallback(artifacts, quantized)
    warn_of_idle_rules(artifacts, quantized)
    warn_of_lost_halves(prepared.graph, artifacts)
    warn_of_small_products(prepared.graph, artifacts, request.asked.target)

    graphs = _quantized_graphs(variants + integers)
    reference = run_reference(
        prepared.itself,
        ran(),
        graphs,
        progress,
        formats=request.formats,
        prequantized=request.existing is not None,
    )
    at_batches = partial(
        verified_at_batches,
        folder,
        reference=reference,
        network_at=prepared.at_batch,
        graphs=graphs,
    )
    one_batch = not request.asked.dynamic_batch
    artifacts, failed = writer.verify(
        artifacts, reference, (lambda artifacts: {}) if one_batch else at_batches
    )
    warn_of_poor_accuracy(artifacts)

    save_reference(folder / REFERENCE_NAME, reference)
    manifest = finished_manifest(
        manifest,
        prepared.graph,
        artifacts,
        calibration_of(quantized, batches),
        reference,
        sha256_of(folder / REFERENCE_NAME),
    )
    _write_documents(folder, manifest, request, quantized)
    repaired = quantized is not None and quantized.repaired
    return Outcome(manifest, writer.failures, tuple(failed), front, repaired)


def _demand_quantizable(prepared: Prepared, writer: Writer) -> None:
    """Refuse what calibration cannot mend, before its data is read."""
    request = prepared.request
    if request.calibrates:
        if Format.TFLITE in request.formats:
            demand_known(prepared.graph)
        writer.demand_quantizable(prepared.scores)


def _quantize(
    writer: Writer, prepared: Prepared, batches: SampleBatches, surveyed: Surveyed | None
) -> tuple[QuantizedModel | None, Callable[[], NetworkRun]]:
    """Quantize the network, and run the network itself beside that if that changes nothing.

    Returns:
        The quantized network, and what says what the network itself computes.
    """
    request = prepared.request
    run_itself = partial(
        run_network, prepared.itself, has_float32=Precision.FLOAT32 in request.precisions
    )
    samples = batches.kept_ahead() if request.calibrates and _runs_in_other_threads() else None
    if samples is None or request.quantization.decided().learns:  # which runs PyTorch itself
        quantized = writer.quantize(prepared.scores, batches, surveyed)
        return quantized, lambda: run_itself(batches.kept, request.asked.progress)
    with Beside() as beside:
        ran = beside.start(partial(run_itself, samples, beside=beside))
        quantized = writer.quantize(prepared.scores, batches, surveyed)
        beside.wait()
    return quantized, ran


def _runs_in_other_threads() -> bool:
    """Whether a module computes the same in another thread, which has settings of its own."""
    return not torch.is_autocast_enabled("cpu") and torch.get_default_device().type == "cpu"


def survey_part(
    request: ResolvedRequest, source: Source, index: int, parts: int
) -> Surveyed | None:
    """Observe what :func:`run` needs on one of so many parts of the calibration data.

    Returns:
        What was seen; None for a network that is not calibrated, as it is quantized already.

    Raises:
        EdgeconvError: As of :func:`run`.
    """
    prepared = prepare(request, source)
    request = prepared.request
    if not request.calibrates:
        return None
    about = description(begun_manifest(prepared, source))
    writer = Writer(request, Path(), about, prepared.pictures, prepared.head)
    _demand_quantizable(prepared, writer)
    batches = _open_batches(prepared, source)
    return writer.survey_part(prepared.scores, batches, index, parts)


def _write_documents(
    folder: Path, manifest: Manifest, request: ResolvedRequest, quantized: QuantizedModel | None
) -> None:
    """Write the manifest, and what stands beside the files to explain and to run them."""
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    if quantized is not None and any(each.precision.calibrated for each in manifest.artifacts):
        _save_ranges(folder / RANGES_NAME, quantized)
    write_companions(folder, manifest)
    if request.calibrates and (request.asked.search or request.quantization.layers):
        layers = request.quantization.layers or ALL_IN_INT8
        (folder / RECIPE_NAME).write_text(write_layers(layers), "utf-8")
    write_checksums(folder)


def _save_ranges(path: Path, quantized: QuantizedModel) -> None:
    """Keep what calibration saw, where it took place."""
    ranges = quantized.ranges
    if ranges:
        CalibratedRanges(activations=len(ranges), ranges=ranges[:MOST_ACTIVATIONS]).write(path)


def _open_batches(prepared: Prepared, source: Source) -> SampleBatches:
    """The samples for calibration and verification."""
    request, graph = prepared.request, prepared.graph
    ranges = integer_ranges(graph)
    samples = request.asked.calibration
    if samples is None and not request.asked.takes_pictures:  # an example is normalized
        samples = example_samples(source.network, request.asked.example, input_infos(graph))
    batches = open_batches(
        samples,
        input_infos(graph),
        prepared.preprocessing,
        ranges,
        prepared.itself.run,
        count=request.asked.calibration_size,
        calibrates=request.calibrates,
    )
    if batches.samples.synthetic:
        warn_of_random_integers(ranges)
    batches.read(request.asked.progress)
    return batches


def _quantized_graphs(variants: Sequence[Variant]) -> dict[Precision, QuantizedGraph]:
    return {
        variant.precision: variant.checked for variant in variants if variant.checked is not None
    }
