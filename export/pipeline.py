"""The whole export, top to bottom: capture, optimize, quantize, write, verify."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from torch import nn

import edgeconv
from edgeconv.bundle import (
    MANIFEST_NAME,
    REFERENCE_NAME,
    Artifact,
    Format,
    Manifest,
    Precision,
    Preprocessing,
    TensorInfo,
    Verification,
    sha256_of,
)
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.capture.checks import refuse_bad_weights, refuse_foreign_types
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.capture.source import Source, input_shape, is_guess, resolve
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.integer_ranges import integer_spans
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import Sample, batch_size, inputs_of_samples
from edgeconv.export.data.synthetic import SYNTHETIC, SyntheticSamples
from edgeconv.export.opset import DEFAULT_OPSET, MIN_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.precision import Variant, existing_precision, make_variant, state_pooled_scales
from edgeconv.export.quantize import QuantizedModel, quantize
from edgeconv.export.request import Request, Settled
from edgeconv.export.runtimes import OnnxRunner
from edgeconv.export.target import caution
from edgeconv.export.tensor_info import input_infos, output_infos, tool_versions, weights_sha256
from edgeconv.export.tflite import demand_known
from edgeconv.export.verify.parity import Outputs, Quantized, Reference, failure, verify_artifacts
from edgeconv.export.verify.reference import (
    Oracle,
    module_outputs,
    onnx_oracle,
    refuse_non_finite_outputs,
    save_reference,
)
from edgeconv.export.write import write_artifact
from edgeconv.models import pretrained

logger = logging.getLogger(__name__)

# Samples that verification runs on: enough for shares of a percent over the outputs of a
# classifier, and a reference.npz that does not outweigh the models.
_VERIFIED_SAMPLES = 16
_VERIFIED_BYTES = 8_000_000
# A float file differs by rounding alone, which any input shows.
_VERIFIED_SYNTHETIC = 2
# Under this a file has lost most of what the network computes.
_POOR_SQNR_DB = 10.0


def find_source(request: Request) -> Source:
    """The network that a request names, with its weights."""
    request.progress("Loading", 0, 1)
    source = resolve(
        request.model,
        args=request.model_args,
        input_size=request.input_size,
        weights=request.weights,
        pretrained=request.pretrained,
    )
    if source.untrained:
        remedy = "--pretrained" if source.spec in pretrained.FILES else "--weights"
        logger.warning("the weights of %s are random; pass %s", source.spec, remedy)
    if request.input_size is not None and is_guess(source, request.input_size):
        height, width = request.input_size
        logger.warning(
            "the input size %dx%d is taken for a color image, 1×3×%d×%d; if the input is none, "
            "give its whole shape, batch first, with commas, as in --input-size 1,12,8",
            *(height, width, height, width),
        )
    return source


def run(request: Request, source: Source, folder: Path) -> Manifest:
    """Carry out a checked request: write every file and the manifest into ``folder``."""
    progress = request.progress
    progress("Capturing", 0, 1)
    graph, oracle = _capture(request, source)
    settled = request.settled(existing_precision(graph, source.spec))
    if request.target is not None:
        warning = caution(request.target, request.formats, settled.precisions)
        if warning is not None:
            logger.warning("%s", warning)
    if settled.existing is not None:
        state_pooled_scales(graph)
    refuse_bad_weights(graph)
    inputs = input_infos(graph)
    preprocessing = _preprocessing(request, source, inputs)
    _check_labels(request, output_infos(graph))
    feed = _feed(request, settled, graph, preprocessing)
    # Float files come first: what cannot be written is refused before a calibration.
    variants = _variants(request, settled, graph, None, calibrated=False)
    artifacts = _write(request, source, variants, folder)
    if settled.calibrates and Format.TFLITE in request.formats:
        demand_known(graph)
    quantized = _quantize(request, settled, graph, feed)
    _warn(feed, preprocessing, quantized, existing=settled.existing is not None)
    integers = _variants(request, settled, graph, quantized, calibrated=True)
    artifacts += _write(request, source, integers, folder)
    artifacts.sort(key=lambda artifact: settled.precisions.index(artifact.precision))
    _warn_of_float(artifacts)
    variants += integers
    reference = _reference(request, source, oracle, feed, variants, settled)
    progress("Verifying", 0, 1)
    figures = _verify(request, folder, artifacts, reference)
    save_reference(folder / REFERENCE_NAME, reference)
    manifest = Manifest(
        edgeconv_version=edgeconv.__version__,
        model=source.spec,
        model_args=dict(source.args),
        weights_sha256=weights_sha256(graph),
        inputs=inputs,
        outputs=output_infos(graph),
        reference=reference.runtime,
        preprocessing=preprocessing,
        labels=request.labels,
        calibration=feed.record(quantized.range_method.value)
        if quantized is not None and quantized.range_method is not None
        else None,
        artifacts=tuple(
            artifact.model_copy(update={"verification": figures.get(artifact.path)})
            for artifact in artifacts
        ),
        reference_sha256=sha256_of(folder / REFERENCE_NAME),
        tools=tool_versions(),
        target=request.target,
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return manifest


def _capture(request: Request, source: Source) -> tuple[ir.Model, Oracle]:
    """The optimized float graph, and the network as it came, to hold everything against."""
    network = source.network
    if isinstance(network, Path):
        graph = capture_file(
            network,
            request.opset,
            highest_opset=request.highest_opset,
            liked_opset=MIN_OPSET if Format.ONNX in request.formats else DEFAULT_OPSET,
            input_size=request.input_size,
            batch=request.batch,
        )
        graph = optimize(graph, already_optimized=False)
        refuse_foreign_types(graph)
        return graph, onnx_oracle(network, input_infos(graph), output_infos(graph))
    size = request.input_size
    batch = size.batch if isinstance(size, InputShape) else request.batch or 1
    shape = (batch, *input_shape(source, size))
    info = TensorInfo(name="input", shape=shape, dtype="float32")
    example = next(iter(SampleBatches(SyntheticSamples([info]), count=batch, batch=batch, keep=0)))
    names = tuple(module_outputs(network, example))
    if len(names) == len(source.output_names):
        names = source.output_names
    opset = request.opset or min(DEFAULT_OPSET, request.highest_opset)
    graph = capture_module(network, example, names, opset)
    graph = optimize(graph, already_optimized=True)
    return graph, lambda sample: list(module_outputs(network, sample).values())


def _preprocessing(
    request: Request, source: Source, inputs: tuple[TensorInfo, ...]
) -> Preprocessing | None:
    """What was stated, or what the network's card says; for other networks on images, [0, 1]."""
    channels = inputs[0].shape[1] if len(inputs) == 1 and len(inputs[0].shape) == 4 else None
    stated, card = request.preprocessing, source.preprocessing
    if stated is not None:
        if len(stated.mean) != channels:
            raise UsageError(
                f"--mean and --std have {len(stated.mean)} numbers, the input of {source.spec} "
                f"has {channels or 'no'} channels"
            )
        resize = stated.resize or (card and card.resize)
        return stated.model_copy(update={"resize": resize})
    if card is not None:
        return card
    if channels not in (1, 3):
        return None
    return Preprocessing(resize=None, mean=(0.0,) * channels, std=(1.0,) * channels, assumed=True)


def _check_labels(request: Request, outputs: tuple[TensorInfo, ...]) -> None:
    classes = outputs[0].shape[-1] if outputs and outputs[0].shape else None
    if request.labels is not None and len(request.labels) != classes:
        raise UsageError(
            f"there are {len(request.labels)} labels, and the first output has {classes} classes"
        )


def _feed(
    request: Request,
    settled: Settled,
    graph: ir.Model,
    preprocessing: Preprocessing | None,
) -> SampleBatches:
    """The samples for calibration and verification."""
    whole = input_infos(graph)
    shapes = [info.shape for info in whole]
    batch, inputs = batch_size(whole) or 1, inputs_of_samples(whole)
    spans = integer_spans(graph)
    size = sum(int(np.prod(i.shape[1:])) * np.dtype(i.dtype).itemsize for i in inputs)
    keep = max(1, min(_VERIFIED_SAMPLES, _VERIFIED_BYTES // max(size, 1)) // batch)
    source = SYNTHETIC if request.calibration is None else request.calibration
    samples = open_samples(source, inputs, preprocessing, spans)
    if samples.synthetic:
        _warn_of_integers(spans)
    if request.calibration is None:
        keep = min(keep, _VERIFIED_SYNTHETIC)
        return SampleBatches(samples, count=keep * batch, batch=batch, keep=keep, shapes=shapes)
    count = request.calibration_size
    if not settled.calibrates:
        count = min(count, keep * batch)
    check = InputCheck(inputs, preprocessing)
    return SampleBatches(samples, count=count, batch=batch, keep=keep, check=check, shapes=shapes)


def _variants(
    request: Request,
    settled: Settled,
    graph: ir.Model,
    quantized: QuantizedModel | None,
    *,
    calibrated: bool,
) -> list[Variant]:
    """The precisions whose scales stand in the file, or else the others."""
    return [
        make_variant(precision, graph, quantized, request.io, settled.existing)
        for precision in settled.precisions
        if precision.calibrated == calibrated
    ]


def _quantize(
    request: Request, settled: Settled, graph: ir.Model, feed: SampleBatches
) -> QuantizedModel | None:
    """The QDQ graph, where one is asked for: calibrated, or ``graph`` itself if it is one."""
    if not settled.calibrates:
        for _ in feed:
            pass  # keeps what verification needs
        return None if settled.existing is None else QuantizedModel(graph, ())
    return quantize(graph, feed, request.quantization, request.progress)


def _warn(
    feed: SampleBatches,
    preprocessing: Preprocessing | None,
    quantized: QuantizedModel | None,
    *,
    existing: bool,
) -> None:
    """Say what makes the data less than it seems."""
    samples = feed.samples
    if samples.skipped:
        names = ", ".join(samples.skipped[:3]) + (", …" if len(samples.skipped) > 3 else "")
        logger.warning("unreadable images skipped (%d): %s", len(samples.skipped), names)
    if samples.pixels and preprocessing and preprocessing.assumed:
        logger.warning(
            "pixels were scaled to [0, 1] and nothing else; pass --mean and --std if the network "
            "was trained with them"
        )
    for finding in feed.findings():
        logger.warning("%s", finding)
    if quantized is not None and quantized.unsettled and not samples.synthetic:
        logger.warning("%s", quantized.unsettled)
    if samples.synthetic and quantized and not existing:
        logger.warning("int8 is calibrated on synthetic inputs: expect no accuracy from it")


def _warn_of_integers(spans: Mapping[str, range]) -> None:
    """Synthetic integers tell less than synthetic reals: which values matter, nobody knows."""
    drawn = {name: span for name, span in spans.items() if len(span) > 1}
    if drawn:
        told = ", ".join(f"{name!r} from {span[0]} to {span[-1]}" for name, span in drawn.items())
        logger.warning("integer inputs are random: %s; give real ones with --calibration", told)


def _warn_of_float(artifacts: list[Artifact]) -> None:
    files = [a.path for a in artifacts if a.precision.calibrated and a.float_fallback]
    if files:
        logger.warning(
            "some operators run in float in %s; the summary and the manifest name them",
            " and ".join(files),
        )


def _reference(
    request: Request,
    source: Source,
    oracle: Oracle,
    feed: SampleBatches,
    variants: list[Variant],
    settled: Settled,
) -> Reference:
    step = "Running the network itself"
    outputs: list[Outputs] = []
    for done, sample in enumerate(feed.kept):
        request.progress(step, done, len(feed.kept))
        outputs.append(oracle(sample))
        refuse_non_finite_outputs(outputs[-1])
    quantized = {}
    for variant in variants:
        if variant.checked is None:
            continue
        integers = None
        if settled.existing is not None:
            integers = outputs
        elif Format.ONNX not in request.formats:
            integers = _run_graph(variant.checked, feed.kept)
        quantized[variant.precision] = Quantized(variant.steps, integers)
    return Reference(
        runtime="pytorch" if isinstance(source.network, nn.Module) else "onnxruntime",
        inputs=feed.kept,
        outputs=outputs,
        quantized=quantized,
        prequantized=settled.existing is not None,
    )


def _run_graph(model: ir.Model, samples: list[Sample]) -> list[Outputs]:
    runner = OnnxRunner(
        ir.to_proto(model).SerializeToString(), input_infos(model), output_infos(model)
    )
    return [runner.run(sample) for sample in samples]


def _write(
    request: Request,
    source: Source,
    variants: list[Variant],
    folder: Path,
) -> list[Artifact]:
    artifacts = []
    for variant in variants:
        for format in dict.fromkeys(request.formats):
            path = folder / f"{file_stem(source.spec)}_{variant.precision.value}.{format.value}"
            request.progress(f"Writing {path.name}", 0, 1)
            artifacts.append(
                write_artifact(
                    path,
                    variant.onnx if format is Format.ONNX else variant.tflite,
                    format,
                    variant.precision,
                    layout=request.layout,
                    runtime=request.runtime,
                    target=request.target,
                    float_fallback=variant.float_fallback,
                    finish=variant.finish,
                )
            )
    return artifacts


def _verify(
    request: Request, folder: Path, artifacts: list[Artifact], reference: Reference
) -> dict[str, Verification]:
    try:
        figures = verify_artifacts(folder, artifacts, reference)
    except EdgeconvError as error:
        if request.verify:
            raise
        logger.warning("not verified: %s", error)
        return {}
    for artifact in artifacts:
        verification = figures[artifact.path]
        if not verification.passed:
            failed = failure(artifact.path, artifact.precision, verification, reference.runtime)
            if request.verify:
                raise failed
            logger.warning("%s", failed)
    for artifact in artifacts:
        sqnr = figures[artifact.path].sqnr_db
        if artifact.precision is not Precision.FLOAT32 and sqnr < _POOR_SQNR_DB:
            advice = (
                "check the calibration data and its preprocessing, and ask `edgeconv blame`"
                if artifact.precision.calibrated
                else "try --precision float16"
            )
            logger.warning(
                "%s keeps little of the network: SQNR %.1f dB; %s", artifact.path, sqnr, advice
            )
    return figures


def file_stem(spec: str) -> str:
    """A file name from a model specification: the factory's name, or the file's."""
    name = spec.rpartition(":")[2] if ":" in spec else Path(spec).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "model"
