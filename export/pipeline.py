"""The whole export, top to bottom: capture, optimize, quantize, write, verify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx_ir as ir
from torch import nn

import edgeconv
from edgeconv.bundle import (
    MANIFEST_NAME,
    RANGES_NAME,
    RECIPE_NAME,
    REFERENCE_NAME,
    Artifact,
    Calibration,
    Format,
    LayerPrecision,
    Manifest,
    Precision,
    Preprocessing,
    TensorInfo,
    sha256_of,
)
from edgeconv.calibrated_ranges import MOST_ACTIVATIONS, CalibratedRanges
from edgeconv.checksums import write_checksums
from edgeconv.companion.network import guessed
from edgeconv.companion.write import write_companions
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.capture.arguments import Called, file_inputs
from edgeconv.export.capture.bind import bind
from edgeconv.export.capture.checks import refuse_bad_weights, refuse_other_than_numbers
from edgeconv.export.capture.cut import cut
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.onnx_file import CapturedFile, capture_file
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.example import example_samples
from edgeconv.export.data.feed import choose_preprocessing, open_batches
from edgeconv.export.data.integer_ranges import integer_ranges
from edgeconv.export.data.preprocess import is_image
from edgeconv.export.data.samples import Sample, batch_size, inputs_of_samples
from edgeconv.export.data.synthetic import SyntheticSamples
from edgeconv.export.dynamic_batch import TRACED, rows, with_batch, with_open_batch
from edgeconv.export.file_description import FileDescription
from edgeconv.export.image_input import Normalization, OnPictures
from edgeconv.export.labels import choose_labels
from edgeconv.export.layer_rules import ALL_IN_INT8, write_layers
from edgeconv.export.open_batch import open_batch
from edgeconv.export.opset import DEFAULT_OPSET, MIN_OPSET
from edgeconv.export.output_head import OutputHead, output_head
from edgeconv.export.passes import optimize
from edgeconv.export.passes.split_outputs import Splits, split_outputs
from edgeconv.export.precision import (
    QuantizedGraph,
    Variant,
    existing_precision,
    state_pooled_scales,
)
from edgeconv.export.quantize import QuantizedModel
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.search import FrontPoint
from edgeconv.export.tensor_info import input_infos, output_infos, tool_versions, weights_sha256
from edgeconv.export.tflite import demand_known
from edgeconv.export.verify.batches import verified_at_batches
from edgeconv.export.verify.check_export import (
    NetworkItself,
    run_reference,
)
from edgeconv.export.verify.pictures import on_pictures
from edgeconv.export.verify.reference import Oracle, module_outputs, onnx_oracle, save_reference
from edgeconv.export.warnings import (
    warn_of_data,
    warn_of_device,
    warn_of_float_fallback,
    warn_of_normalized_integers,
    warn_of_poor_accuracy,
    warn_of_random_integers,
    warn_of_source,
)
from edgeconv.export.writer import Writer


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
    source = bind(
        source,
        size=asked.size,
        batch=asked.batch,
        stated=asked.stated_inputs,
        example=asked.example,
    )
    return _at_batch(source, TRACED) if asked.dynamic_batch else source


def _at_batch(source: Source, batch: int) -> Source:
    """A module's source with inputs of another batch; a file's as it is."""
    if not isinstance(source.network, Called):
        return source
    arguments = source.network.arguments
    inputs = with_batch(arguments.inputs, batch)
    example = arguments.example and tuple(map(rows, arguments.example, inputs))
    arguments = replace(arguments, inputs=inputs, example=example)
    return replace(source, network=Called(source.network.network, arguments))


@dataclass(frozen=True)
class Outcome:
    """What an export wrote.

    Attributes:
        manifest: Describes the files that are right.
        failures: Why each of the others failed, by its name.
        failed: Those among them that were written and run.
        front: What accuracy costs by layer, where that was searched.
    """

    manifest: Manifest
    failures: dict[str, EdgeconvError]
    failed: tuple[Artifact, ...]
    front: tuple[FrontPoint, ...] = ()


def run(request: ResolvedRequest, source: Source, folder: Path, *, search: bool = False) -> Outcome:
    """Carry out a request: write every right file and the manifest into ``folder``.

    A precision that fails does not keep the others from being written.

    Args:
        request: What to export.
        source: The network.
        folder: Where the files go.
        search: Whether to find the front of accuracy against cost, too.

    Raises:
        UsageError: The request does not go with the network.
        EdgeconvError: Nothing is right, or what all files start from failed.
    """
    asked = request.asked
    asked.progress("Capturing", 0, 1)
    graph, itself = _capture(request, source)
    request = request.for_network(existing_precision(graph, source.spec))
    warn_of_device(request, asked.target)
    if request.existing is not None:
        state_pooled_scales(graph)
    module = itself.source if isinstance(itself.source, nn.Module) else None
    refuse_bad_weights(graph, module.state_dict() if module is not None else ())
    whole = replace(itself, graph=graph.clone()) if asked.dynamic_batch else itself
    splits = split_outputs(graph) if asked.split_outputs else Splits.none(graph)
    if asked.dynamic_batch:
        open_batch(graph)
        splits = splits.for_every_batch(TRACED)
    head = output_head(asked.output, graph, output_infos(graph), source.spec)
    splits = replace(splits, head=head)
    itself = replace(itself, run=splits.behind(itself.run), splits=splits)
    preprocessing = choose_preprocessing(
        asked.preprocessing, source.preprocessing, input_infos(graph), source.spec
    )
    pictures = _pictures(asked, graph, preprocessing, source.spec)
    if pictures is not None and preprocessing is not None:
        preprocessing = preprocessing.model_copy(update={"inside": True})
        graph = pictures.enter(integer=False).whole
        itself = itself.on_pictures(pictures.how, graph)
    warn_of_normalized_integers(request, preprocessing)
    labels = choose_labels(asked.labels, source.labels, output_infos(graph))
    scores = graph
    if head is not None:
        graph = head.behind(scores)
        itself = replace(itself, graph=graph)
    if request.calibrates and Format.TFLITE in request.formats:
        demand_known(graph)  # before the data is read
    batches = _open_batches(request, graph, source, preprocessing, itself.run)

    # Float files come first: what cannot be written is refused before a calibration.
    manifest = _manifest(asked, source, graph, itself, preprocessing, labels, head)
    writer = Writer(request, folder, _description(manifest), pictures, head)
    variants = writer.variants(graph, None, calibrated=False)
    artifacts = writer.write(variants)
    quantized = writer.quantize(scores, batches)
    warn_of_data(batches, preprocessing, quantized, calibrates=request.calibrates)
    integers = writer.variants(graph, quantized, calibrated=True)
    artifacts += writer.write(integers)
    front = writer.front(graph, batches) if search and quantized is not None else ()
    if not artifacts:
        raise next(iter(writer.failures.values()))
    artifacts.sort(key=lambda artifact: request.precisions.index(artifact.precision))
    warn_of_float_fallback(artifacts)

    reference = run_reference(
        itself,
        batches.kept,
        _quantized_graphs(variants + integers),
        asked.progress,
        formats=request.formats,
        prequantized=request.existing is not None,
        has_float32=Precision.FLOAT32 in request.precisions,
    )
    asked.progress("Verifying", 0, 1)
    artifacts, failed = writer.verify(
        artifacts,
        reference,
        partial(
            verified_at_batches,
            folder,
            reference=reference,
            network_at=lambda n: splits.behind(
                _on_pictures(_oracle_at_batch(request, source, whole, n), pictures)
            ),
            graphs=_quantized_graphs(variants + integers),
        )
        if asked.dynamic_batch
        else lambda artifacts: {},
    )
    warn_of_poor_accuracy(artifacts)
    save_reference(folder / REFERENCE_NAME, reference)
    manifest = manifest.model_copy(
        update={
            "calibration": _calibration(quantized, batches),
            "artifacts": tuple(artifacts),
            "joined": {
                info.name: parts.names
                for info, parts in zip(output_infos(graph), reference.joined, strict=True)
                if parts is not None
            },
            "reference_sha256": sha256_of(folder / REFERENCE_NAME),
        }
    )
    manifest = manifest.model_copy(update={"task": guessed(manifest)})
    (folder / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    if quantized is not None and any(artifact.precision.calibrated for artifact in artifacts):
        _save_ranges(folder / RANGES_NAME, quantized)
    write_companions(folder, manifest)
    if request.calibrates and (asked.search or request.quantization.layers):
        layers = request.quantization.layers or ALL_IN_INT8
        (folder / RECIPE_NAME).write_text(write_layers(layers), "utf-8")
    write_checksums(folder)
    return Outcome(manifest, writer.failures, tuple(failed), front)


def _save_ranges(path: Path, quantized: QuantizedModel) -> None:
    """Keep what calibration saw, where it took place."""
    ranges = quantized.ranges
    if ranges:
        CalibratedRanges(activations=len(ranges), ranges=ranges[:MOST_ACTIVATIONS]).write(path)


def _manifest(
    asked: ExportRequest,
    source: Source,
    graph: ir.Model,
    itself: NetworkItself,
    preprocessing: Preprocessing | None,
    labels: Sequence[str] | None,
    head: OutputHead | None,
) -> Manifest:
    """The manifest, without what is found out while the files are written."""
    described = with_open_batch(graph) if asked.dynamic_batch else graph
    manifest = Manifest(
        edgeconv_version=edgeconv.__version__,
        model=source.spec,
        model_args=dict(source.args),
        weights_sha256=weights_sha256(graph),
        inputs=input_infos(described),
        outputs=output_infos(described),
        reference=itself.runtime,
        preprocessing=preprocessing,
        labels=None if labels is None else tuple(labels),
        calibration=None,
        artifacts=(),
        reference_sha256="",
        tools=tool_versions(),
        target=asked.target,
        output=asked.output,
        classes=None if head is None else head.classes,
        about=dict(asked.about or {}),
    )
    return manifest.model_copy(update={"provenance_sha256": manifest.provenance()})


def _description(manifest: Manifest) -> FileDescription:
    """What every file says of itself."""
    return FileDescription(
        name=manifest.model,
        version=manifest.edgeconv_version,
        provenance_sha256=manifest.provenance(),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=manifest.preprocessing,
        labels=manifest.labels or (),
        about=manifest.about,
    )


def _capture(request: ResolvedRequest, source: Source) -> tuple[ir.Model, NetworkItself]:
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
    if request.asked.cut_outputs:
        cut(graph, request.asked.cut_outputs, source.spec)
        itself = ir.to_proto(graph).SerializeToString()
        graph = optimize(graph)
        oracle = onnx_oracle(itself, input_infos(graph), output_infos(graph))
        return graph, NetworkItself(itself, oracle, graph, Splits.none(graph))
    graph = optimize(graph)
    return graph, NetworkItself(
        network,
        lambda sample: list(module_outputs(network, sample).values()),
        graph,
        Splits.none(graph),
    )


def _synthetic(inputs: Sequence[TensorInfo]) -> Sample:
    samples, batch = SyntheticSamples(inputs_of_samples(inputs)), batch_size(inputs) or 1
    shapes = [info.shape for info in inputs]
    return next(iter(SampleBatches(samples, count=batch, batch=batch, shapes=shapes)))


def _capture_file(request: ResolvedRequest, path: Path) -> tuple[ir.Model, NetworkItself]:
    captured = _read_file(request, path, TRACED if request.asked.dynamic_batch else None)
    graph = optimize(captured.graph)
    refuse_other_than_numbers(graph)
    oracle = onnx_oracle(captured.itself, input_infos(graph), output_infos(graph))
    return graph, NetworkItself(captured.itself, oracle, graph, Splits.none(graph))


def _read_file(request: ResolvedRequest, path: Path, batch: int | None) -> CapturedFile:
    """Capture an ``.onnx`` file, at this batch or, where it is None, as the request says."""
    asked = request.asked
    size, stated = asked.size, file_inputs(path, asked.stated_inputs, asked.example)
    if batch is not None:
        first = next(iter(stated.values()), ())[:1]
        stated = {
            name: (batch, *shape[1:]) if shape[:1] == first else shape
            for name, shape in stated.items()
        }
        size = InputShape((batch, *size[1:])) if isinstance(size, InputShape) else size
    return capture_file(
        path,
        asked.opset,
        highest_opset=request.highest_opset,
        liked_opset=MIN_OPSET if Format.ONNX in request.formats else DEFAULT_OPSET,
        input_size=size,
        batch=batch or asked.batch,
        stated=stated,
        cut_outputs=asked.cut_outputs,
    )


def _oracle_at_batch(
    request: ResolvedRequest, source: Source, itself: NetworkItself, batch: int
) -> Oracle:
    """The network itself at another batch than the one that it was captured at."""
    if isinstance(source.network, Path):
        file = _read_file(request, source.network, batch).itself
        return onnx_oracle(file, itself.inputs, itself.outputs)
    if request.asked.cut_outputs:
        return _capture(request, _at_batch(source, batch))[1].run
    return itself.run


def _on_pictures(network: Oracle, pictures: OnPictures | None) -> Oracle:
    return network if pictures is None else on_pictures(network, pictures.how)


def _pictures(
    asked: ExportRequest, graph: ir.Model, preprocessing: Preprocessing | None, network: str
) -> OnPictures | None:
    """How the files take pictures, if they shall.

    Raises:
        UsageError: The network does not take one image.
    """
    if not asked.takes_pictures:
        return None
    inputs = input_infos(graph)
    if preprocessing is None or len(inputs) != 1 or not is_image(inputs[0]):
        raise UsageError(
            f"--input image is for a network on one gray or color image, and {network} takes "
            + "; ".join(f"{info.name!r} of {list(info.shape)}" for info in inputs),
            hint="leave --input image out",
        )
    if inputs[0].dtype != "float32":
        raise UsageError(
            f"{network} takes {inputs[0].dtype} pictures already",
            hint="leave --input image out",
        )
    return OnPictures(graph, Normalization.of(preprocessing, inputs[0], asked.picture_layout))


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
    if samples is None and not request.asked.takes_pictures:  # an example is normalized
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


def _calibration(quantized: QuantizedModel | None, batches: SampleBatches) -> Calibration | None:
    if quantized is None or quantized.range_method is None:
        return None
    steps = [step.record() for step in quantized.improvements]
    record = batches.record(quantized.range_method.value, steps)
    return record.model_copy(update={"layers": _layers(quantized)})


def _layers(quantized: QuantizedModel) -> tuple[LayerPrecision, ...]:
    return tuple(
        LayerPrecision(
            name=rule.name,
            precision=rule.precision.value,
            weights=rule.weights.value,
            activations=rule.activations.value,
            nodes=nodes,
        )
        for rule, nodes in quantized.layers
    )


def _quantized_graphs(variants: Sequence[Variant]) -> dict[Precision, QuantizedGraph]:
    return {
        variant.precision: variant.checked for variant in variants if variant.checked is not None
    }
