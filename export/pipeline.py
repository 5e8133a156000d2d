"""The whole export, top to bottom: capture, optimize, quantize, write, verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

import edgeconv
from edgeconv.bundle import (
    MANIFEST_NAME,
    REFERENCE_NAME,
    Artifact,
    Calibration,
    Format,
    IoType,
    Manifest,
    Precision,
    Preprocessing,
    TensorInfo,
    sha256_of,
)
from edgeconv.errors import UsageError
from edgeconv.export.capture.arguments import Called, file_inputs
from edgeconv.export.capture.bind import bind
from edgeconv.export.capture.checks import refuse_bad_weights, refuse_foreign_types
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.example import example_samples
from edgeconv.export.data.feed import choose_preprocessing, open_batches
from edgeconv.export.data.integer_ranges import integer_ranges
from edgeconv.export.data.samples import Sample, batch_size, inputs_of_samples
from edgeconv.export.data.synthetic import SyntheticSamples
from edgeconv.export.opset import DEFAULT_OPSET, MIN_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.precision import (
    QuantizedGraph,
    Variant,
    existing_precision,
    make_variant,
    state_pooled_scales,
)
from edgeconv.export.quantize import QuantizedModel, quantize
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.tensor_info import input_infos, output_infos, tool_versions, weights_sha256
from edgeconv.export.tflite import demand_known
from edgeconv.export.verify.check_export import NetworkItself, run_reference, verified
from edgeconv.export.verify.parity import Reference
from edgeconv.export.verify.reference import Oracle, module_outputs, onnx_oracle, save_reference
from edgeconv.export.warnings import (
    warn_of_data,
    warn_of_device,
    warn_of_float_fallback,
    warn_of_poor_accuracy,
    warn_of_random_integers,
    warn_of_source,
)
from edgeconv.export.write import write_artifact


def find_source(asked: ExportRequest) -> Source:
    """Find or build the network that a request names, with its weights."""
    asked.progress("Loading", 0, 1)
    source = resolve(
        asked.model,
        args=asked.model_args or {},
        input_size=asked.size,
        weights=None if asked.weights is None else Path(asked.weights),
        weights_key=asked.weights_key,
        pretrained=asked.pretrained,
    )
    warn_of_source(source, asked.size)
    return bind(
        source,
        size=asked.size,
        batch=asked.batch,
        stated=asked.stated_inputs,
        example=asked.example,
    )


def run(request: ResolvedRequest, source: Source, folder: Path) -> Manifest:
    """Carry out a request: write every file and the manifest into ``folder``."""
    asked = request.asked
    asked.progress("Capturing", 0, 1)
    graph, oracle = _capture(request, source)
    request = request.for_network(existing_precision(graph, source.spec))
    warn_of_device(request, asked.target)
    if request.existing is not None:
        state_pooled_scales(graph)
    refuse_bad_weights(graph)
    preprocessing = choose_preprocessing(
        asked.preprocessing, source.preprocessing, input_infos(graph), source.spec
    )
    labels = _labels(asked.labels, source.labels, output_infos(graph))
    if request.calibrates and Format.TFLITE in request.formats:
        demand_known(graph)  # before the data is read
    batches = _open_batches(request, graph, source, preprocessing, oracle)

    # Float files come first: what cannot be written is refused before a calibration.
    variants = _variants(request, graph, None, calibrated=False)
    artifacts = _write(request, variants, folder)
    quantized = _quantize(request, graph, batches)
    warn_of_data(batches, preprocessing, quantized, calibrates=request.calibrates)
    integers = _variants(request, graph, quantized, calibrated=True)
    artifacts += _write(request, integers, folder)
    artifacts.sort(key=lambda artifact: request.precisions.index(artifact.precision))
    warn_of_float_fallback(artifacts)

    reference = run_reference(
        NetworkItself(source.network, oracle, graph),
        batches.kept,
        _quantized_graphs(variants + integers),
        asked.progress,
        formats=request.formats,
        prequantized=request.existing is not None,
        has_float32=Precision.FLOAT32 in request.precisions,
        strict=asked.verify,
    )
    asked.progress("Verifying", 0, 1)
    artifacts = verified(folder, artifacts, reference, strict=asked.verify)
    warn_of_poor_accuracy(artifacts)
    save_reference(folder / REFERENCE_NAME, reference)
    calibration = None
    if quantized is not None and quantized.range_method is not None:
        calibration = batches.record(
            quantized.range_method.value, [step.record() for step in quantized.improvements]
        )
    manifest = _manifest(
        asked,
        source,
        graph,
        reference=reference,
        preprocessing=preprocessing,
        labels=labels,
        calibration=calibration,
        artifacts=artifacts,
        reference_sha256=sha256_of(folder / REFERENCE_NAME),
    )
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return manifest


def _manifest(
    asked: ExportRequest,
    source: Source,
    graph: ir.Model,
    *,
    reference: Reference,
    preprocessing: Preprocessing | None,
    labels: Sequence[str] | None,
    calibration: Calibration | None,
    artifacts: Sequence[Artifact],
    reference_sha256: str,
) -> Manifest:
    return Manifest(
        edgeconv_version=edgeconv.__version__,
        model=source.spec,
        model_args=dict(source.args),
        weights_sha256=weights_sha256(graph),
        inputs=input_infos(graph),
        outputs=output_infos(graph),
        reference=reference.runtime,
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
        calibration=calibration,
        artifacts=tuple(artifacts),
        joined={
            info.name: parts.names
            for info, parts in zip(output_infos(graph), reference.joined, strict=True)
            if parts is not None
        },
        reference_sha256=reference_sha256,
        tools=tool_versions(),
        target=asked.target,
    )


def _capture(request: ResolvedRequest, source: Source) -> tuple[ir.Model, Oracle]:
    """The optimized float graph, and the network as it came, to hold everything against."""
    network = source.network
    if isinstance(network, Path):
        return _capture_file(request, network)
    assert isinstance(network, Called)
    opset = request.asked.opset
    example = network.arguments.example or _synthetic(network.arguments.inputs)
    names = tuple(module_outputs(network, example))
    if len(names) == len(source.output_names):
        names = source.output_names
    graph = capture_module(
        network, example, names, opset or min(DEFAULT_OPSET, request.highest_opset)
    )
    graph = optimize(graph)
    return graph, lambda sample: list(module_outputs(network, sample).values())


def _synthetic(inputs: Sequence[TensorInfo]) -> Sample:
    samples, batch = SyntheticSamples(inputs_of_samples(inputs)), batch_size(inputs) or 1
    shapes = [info.shape for info in inputs]
    return next(iter(SampleBatches(samples, count=batch, batch=batch, shapes=shapes)))


def _capture_file(request: ResolvedRequest, path: Path) -> tuple[ir.Model, Oracle]:
    graph = capture_file(
        path,
        request.asked.opset,
        highest_opset=request.highest_opset,
        liked_opset=MIN_OPSET if Format.ONNX in request.formats else DEFAULT_OPSET,
        input_size=request.asked.size,
        batch=request.asked.batch,
        stated=file_inputs(path, request.asked.stated_inputs, request.asked.example),
    )
    graph = optimize(graph)
    refuse_foreign_types(graph)
    return graph, onnx_oracle(path, input_infos(graph), output_infos(graph))


def _labels(
    stated: Sequence[str] | None, card: Sequence[str] | None, outputs: Sequence[TensorInfo]
) -> Sequence[str] | None:
    """The names of the classes: the user's, or those of the network's card where they fit."""
    classes = outputs[0].shape[-1] if outputs and outputs[0].shape else None
    if stated is not None and len(stated) != classes:
        raise UsageError(
            f"there are {len(stated)} labels, and the first output has {classes or 'no'} classes",
            hint="give one label per class, in the order of the output",
        )
    return card if stated is None and card is not None and len(card) == classes else stated


def _open_batches(
    request: ResolvedRequest,
    graph: ir.Model,
    source: Source,
    preprocessing: Preprocessing | None,
    oracle: Oracle,
) -> SampleBatches:
    """The samples for calibration and verification."""
    ranges = integer_ranges(graph)
    samples = request.asked.calibration
    if samples is None:
        samples = example_samples(source.network, request.asked.example, input_infos(graph))
    batches = open_batches(
        samples,
        input_infos(graph),
        preprocessing,
        ranges,
        oracle,
        count=request.asked.calibration_size,
        calibrates=request.calibrates,
    )
    if batches.samples.synthetic:
        warn_of_random_integers(ranges)
    batches.read(request.asked.progress)
    return batches


def _variants(
    request: ResolvedRequest,
    graph: ir.Model,
    quantized: QuantizedModel | None,
    *,
    calibrated: bool,
) -> list[Variant]:
    """The network in the precisions whose scales are in the file, or else in the others."""
    return [
        make_variant(
            precision,
            graph,
            quantized,
            request.asked.io,
            request.existing,
            half_arithmetic=request.half_arithmetic,
        )
        for precision in request.precisions
        if precision.calibrated == calibrated
    ]


def _quantize(
    request: ResolvedRequest, graph: ir.Model, batches: SampleBatches
) -> QuantizedModel | None:
    """The QDQ graph, where one is asked for: calibrated, or ``graph`` itself if it is one."""
    if request.calibrates:
        integer = request.asked.io not in (IoType.FLOAT32, IoType.FLOAT16)
        options = replace(request.quantization, integer_outputs=integer)
        return quantize(graph, batches, options, request.asked.progress)
    for _ in batches:
        pass  # keeps what verification needs
    return None if request.existing is None else QuantizedModel(graph, ())


def _quantized_graphs(variants: Sequence[Variant]) -> dict[Precision, QuantizedGraph]:
    return {
        variant.precision: variant.checked for variant in variants if variant.checked is not None
    }


def _write(request: ResolvedRequest, variants: Sequence[Variant], folder: Path) -> list[Artifact]:
    """Write each variant in each format."""
    artifacts = []
    for variant in variants:
        for format in dict.fromkeys(request.formats):
            path = folder / f"{request.name}_{variant.precision.value}.{format.value}"
            request.asked.progress(f"Writing {path.name}", 0, 1)
            artifacts.append(
                write_artifact(
                    path,
                    variant.onnx if format is Format.ONNX else variant.tflite,
                    format,
                    variant.precision,
                    layout=request.asked.layout,
                    runtime=request.runtime,
                    target=request.asked.target,
                    float_fallback=variant.float_fallback,
                    finish=variant.finish,
                )
            )
    return artifacts
