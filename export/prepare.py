"""From a request to the graph that its files are made of, and the network to hold them against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from edgeconv.bundle import Format, IoType, TensorInfo
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.export.capture.arguments import Called, file_inputs
from edgeconv.export.capture.bind import bind
from edgeconv.export.capture.checks import (
    refuse_bad_statistics,
    refuse_bad_weights,
    refuse_other_than_numbers,
    refuse_random,
)
from edgeconv.export.capture.cut import cut
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.module_calls import counted_calls
from edgeconv.export.capture.onnx_file import CapturedFile, capture_file
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.capture.scales import refuse_bad_scales
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.feed import choose_preprocessing
from edgeconv.export.data.preprocess import is_image
from edgeconv.export.data.samples import Sample, batch_size, inputs_of_samples
from edgeconv.export.data.synthetic import Domain, SyntheticSamples, find_domain
from edgeconv.export.dynamic_batch import TRACED, other_dimension, rows, with_batch
from edgeconv.export.image_input import Normalization, OnPictures
from edgeconv.export.labels import choose_labels
from edgeconv.export.open_batch import open_batch
from edgeconv.export.opset import DEFAULT_OPSET, MIN_OPSET
from edgeconv.export.output_head import OutputHead, output_head
from edgeconv.export.passes import optimize
from edgeconv.export.passes.split_outputs import Splits, split_outputs
from edgeconv.export.precision import (
    existing_precision,
    state_pooled_scales,
)
from edgeconv.export.request import ExportRequest, ResolvedRequest
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.verify.check_export import (
    NetworkItself,
)
from edgeconv.export.verify.pictures import on_pictures
from edgeconv.export.verify.reference import (
    FOR_ONE_SIZE,
    Oracle,
    module_outputs,
    of_stated_shapes,
    onnx_oracle,
    refuse_changing_outputs,
)
from edgeconv.export.warnings import (
    warn_of_device,
    warn_of_normalized_integers,
    warn_of_source,
)
from edgeconv.preprocessing import Preprocessing


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
        dynamic=asked.dynamic_batch,
    )
    return _at_batch(source, TRACED) if asked.dynamic_batch else source


def _at_batch(source: Source, batch: int) -> Source:
    """A module's source with inputs of another batch; a file's as it is."""
    if not isinstance(source.network, Called):
        return source
    return replace(source, network=_called_at_batch(source.network, batch))


def _called_at_batch(network: Called, batch: int) -> Called:
    arguments = network.arguments
    inputs = with_batch(arguments.inputs, batch)
    example = arguments.example and tuple(map(rows, arguments.example, inputs))
    return Called(network.network, replace(arguments, inputs=inputs, example=example))


@dataclass(frozen=True)
class Prepared:
    """What the files of an export are made of.

    Attributes:
        request: The request, which now knows the network.
        graph: The float graph, with everything that the files compute.
        scores: The same without what is made of scores behind it, which is not quantized.
        itself: The network itself, which computes the same outputs.
        at_batch: The network itself at another batch.
        preprocessing: How images become its inputs.
        pictures: How the files take pictures, if they do.
        head: What is made of its scores, if anything is.
        labels: The names of its classes.
    """

    request: ResolvedRequest
    graph: ir.Model
    scores: ir.Model
    itself: NetworkItself
    at_batch: Callable[[int], Oracle]
    preprocessing: Preprocessing | None
    pictures: OnPictures | None
    head: OutputHead | None
    labels: Sequence[str] | None

    def of_batch(self, batch: int) -> Oracle:
        """The network itself, on samples of the batch that the manifest states."""
        return self.at_batch(batch) if self.request.asked.dynamic_batch else self.itself.run


def prepare(request: ResolvedRequest, source: Source) -> Prepared:
    """Capture a network, and give it the inputs and outputs that the request states.

    Raises:
        UsageError: The request does not go with the network.
        EdgeconvError: The network cannot be captured.
    """
    asked = request.asked
    graph, itself = _capture(request, source)
    refuse_random(graph)
    request = request.for_network(existing_precision(graph, source.spec))
    warn_of_device(request, asked.target)
    if request.existing is not None:
        state_pooled_scales(graph)
    module = source.network.network if isinstance(source.network, Called) else None
    refuse_bad_weights(graph, None if module is None else module.state_dict())
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
    pictures = _pictures(request, graph, preprocessing, source.spec)
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

    def at_batch(batch: int) -> Oracle:
        network = _oracle_at_batch(request, source, whole, batch)
        return splits.behind(network if pictures is None else on_pictures(network, pictures.how))

    return Prepared(request, graph, scores, itself, at_batch, preprocessing, pictures, head, labels)


def _capture(request: ResolvedRequest, source: Source) -> tuple[ir.Model, NetworkItself]:
    """The optimized float graph, and the network as it came, to hold everything against."""
    network = source.network
    if isinstance(network, Path):
        return _capture_file(request, network)
    assert isinstance(network, Called)
    opset = request.asked.opset
    try:
        example = network.arguments.example or _synthetic(network)
        with counted_calls() as calls:
            outputs = module_outputs(network, example)
    except UsageError as error:
        explained = FOR_ONE_SIZE in error.message
        if (
            request.asked.dynamic_batch
            and not explained
            and _runs(one := _called_at_batch(network, 1))
        ):
            raise UsageError(error.message, hint=other_dimension(one.arguments.inputs)) from error
        raise
    again = module_outputs(network, example)
    names = tuple(outputs)
    if len(names) == len(source.output_names):
        names = source.output_names
    graph = capture_module(
        network,
        example,
        names,
        opset or min(DEFAULT_OPSET, request.highest_opset),
        request.asked.progress,
        calls.count,
    )
    request.asked.progress("Simplifying the graph", 0, 1)
    refuse_changing_outputs(network, graph, outputs, again)
    refuse_bad_statistics(graph)
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


def _runs(network: Called) -> bool:
    """Whether it takes its example, or a sample that is made for it."""
    example = network.arguments.example
    try:
        module_outputs(network, example or _synthetic(network))
    except EdgeconvError:
        return False
    return True


def _synthetic(network: Called) -> Sample:
    """A sample that the network takes: it may refuse some values, as a loss does."""
    inputs = network.arguments.inputs
    domain = find_domain(
        lambda domain: list(module_outputs(network, _sample(inputs, domain)).values())
    )
    return _sample(inputs, domain)


def _sample(inputs: Sequence[TensorInfo], domain: Domain) -> Sample:
    shapes, batch = [info.shape for info in inputs], batch_size(inputs) or 1
    samples = SyntheticSamples(inputs_of_samples(inputs), domain=domain)
    return next(iter(SampleBatches(samples, count=batch, batch=batch, shapes=shapes)))


def _capture_file(request: ResolvedRequest, path: Path) -> tuple[ir.Model, NetworkItself]:
    captured = _read_file(request, path, TRACED if request.asked.dynamic_batch else None)
    refuse_bad_statistics(captured.graph)
    refuse_bad_scales(captured.graph)
    try:
        graph = optimize(captured.graph.clone())
    except EdgeconvError:
        raise
    except Exception:
        _demand_that_it_runs(captured)  # a file that nothing runs may end in anything
        raise
    refuse_other_than_numbers(graph)
    outputs = output_infos(graph)
    oracle = onnx_oracle(captured.itself, input_infos(graph), outputs)
    oracle = of_stated_shapes(oracle, outputs, path, captured.graph)
    return graph, NetworkItself(captured.itself, oracle, graph, Splits.none(graph))


def _demand_that_it_runs(captured: CapturedFile) -> None:
    """Run a file on ONNX Runtime, as it came.

    Raises:
        EdgeconvError: It does not run there.
    """
    graph = captured.graph
    run = onnx_oracle(captured.itself, input_infos(graph), output_infos(graph))
    run(_sample(input_infos(graph), Domain.REAL))


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
        traced=TRACED if asked.dynamic_batch and batch == TRACED else None,
        from_example=asked.example is not None and batch is None,
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


def _pictures(
    request: ResolvedRequest, graph: ir.Model, preprocessing: Preprocessing | None, network: str
) -> OnPictures | None:
    """How the files take pictures, if they shall.

    Raises:
        UsageError: The network does not take one image, or its own integers.
    """
    asked = request.asked
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
    if request.existing is not None and asked.io is not IoType.FLOAT32:
        raise UsageError(
            f"{network} is quantized already, and its integers are not the bytes of a picture",
            hint="use --io float32, or leave --input image out",
        )
    return OnPictures(graph, Normalization.of(preprocessing, inputs[0], asked.picture_layout))
