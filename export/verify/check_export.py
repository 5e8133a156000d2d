"""Run the network itself, and check every file of an export against it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from torch import nn

from edgeconv.bundle import Artifact, Format, OutputKind, Precision, TensorInfo
from edgeconv.errors import DataError, EdgeconvError, Notice, UsageError, attempted
from edgeconv.export.capture.float32 import narrow_floats
from edgeconv.export.data.samples import Sample
from edgeconv.export.image_input import Normalization
from edgeconv.export.joined import joined_outputs
from edgeconv.export.passes.split_outputs import Splits
from edgeconv.export.precision import QuantizedGraph
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.verify.beside import Beside
from edgeconv.export.verify.expected import Allowances, Outputs, Probes, Quantized, Reference
from edgeconv.export.verify.failure import failure
from edgeconv.export.verify.float64 import float32_allowances, run_probes
from edgeconv.export.verify.infinities import refuse_non_finite_outputs
from edgeconv.export.verify.operators import check_operators, run_exactly
from edgeconv.export.verify.parity import verify_artifacts
from edgeconv.export.verify.pictures import Normalized, file_on_pictures, on_pictures
from edgeconv.export.verify.reference import Oracle
from edgeconv.progress import Progress, no_progress
from edgeconv.verification import OperatorFigures

logger = logging.getLogger(__name__)

# A float64 run takes several times as long as one of float32. So the errors of float32 are measured
# on so many samples, and the probes, first: a file that these allow is right, and only for another
# one are they measured on all.
_MEASURED = 4


@dataclass(frozen=True)
class NetworkItself:
    """The network that the files are held against.

    Attributes:
        source: The module, or the ``.onnx`` file or its bytes.
        run: Runs it in float32.
        graph: The optimized graph that was captured from it.
        splits: What :attr:`run` splits of the outputs of :attr:`source`.
    """

    source: nn.Module | Path | bytes
    run: Oracle
    graph: ir.Model
    splits: Splits

    def on_pictures(self, how: Normalization, graph: ir.Model) -> NetworkItself:
        """The network behind a normalization.

        Args:
            how: The normalization.
            graph: The graph that takes pictures.
        """
        if isinstance(self.source, nn.Module):
            source: nn.Module | bytes = Normalized(self.source, how)
        else:
            source = file_on_pictures(self.source, self.graph, how)
        return replace(self, source=source, run=on_pictures(self.run, how), graph=graph)

    @property
    def runtime(self) -> str:
        """What :attr:`run` runs on."""
        return "pytorch" if isinstance(self.source, nn.Module) else "onnxruntime"

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The network's inputs."""
        return input_infos(self.graph)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The network's outputs."""
        return output_infos(self.graph)


@dataclass(frozen=True)
class NetworkRun:
    """What the network itself computes.

    Attributes:
        samples: The samples, each a tuple of arrays in the network's own layout.
        outputs: Its outputs for each.
        probes: Further inputs, with its outputs, if float32 files are held against them.
        allowances: The errors that float32 may make in all of them.
    """

    samples: list[Sample]
    outputs: list[Outputs]
    probes: Probes
    allowances: Allowances


def run_network(
    network: NetworkItself,
    samples: list[Sample],
    progress: Progress = no_progress,
    *,
    has_float32: bool,
    beside: Beside | None = None,
) -> NetworkRun:
    """Run the network on the samples.

    Args:
        network: The network itself.
        samples: Inputs in the network's own layout.
        progress: Called with (step, done, total).
        has_float32: Whether float32 files are written, which are held against probes too.
        beside: The thread that this runs in, if it is one beside the quantization. It measures the
            errors of float32 on a few samples ahead, if float32 files are written; otherwise they
            are measured once they are asked for.

    Raises:
        DataError: The network fails on a sample.
        StoppedError: ``beside`` was stopped.
    """
    run = network.run if beside is None else beside.oracle(network.run)
    outputs: list[Outputs] = []
    for done, sample in enumerate(samples):
        progress("Running the network itself", done, len(samples))
        try:
            outputs.append(run(sample))
        except UsageError as error:  # it has run on other values of these shapes before
            raise DataError(
                error.message,
                hint="check the values of the samples, such as indices beyond a table",
            ) from error
    probes = run_probes(run, samples[0]) if has_float32 else Probes([], [])
    every = range(len(samples) + len(probes.inputs))
    few = [*range(min(_MEASURED, len(samples))), *every[len(samples) :]]
    ways: list[Callable[[], npt.NDArray[np.float64] | None]] = [
        partial(
            float32_allowances,
            network.graph,
            network.source,
            run,
            network.splits,
            [*samples, *probes.inputs],
            [*outputs, *probes.outputs],
            frozenset(measured),
            with_functions=with_functions,
            each=iter if beside is None else beside.each,
        )
        for measured, with_functions in (
            *([(few, False)] if len(few) < len(every) else []),
            (every, False),
            (every, True),
        )
    ]
    if beside is not None and has_float32:
        ways[0] = beside.start(ways[0])
    return NetworkRun(samples, outputs, probes, Allowances(*ways))


def run_reference(
    network: NetworkItself,
    ran: NetworkRun,
    graphs: Mapping[Precision, QuantizedGraph],
    progress: Progress,
    *,
    formats: Sequence[Format],
    prequantized: bool,
) -> Reference:
    """Collect what the files are held against.

    Args:
        network: The network itself.
        ran: What it computes.
        graphs: What the files of each quantized precision should compute.
        progress: Called with (step, done, total).
        formats: The formats that are written.
        prequantized: Whether the network is quantized already.

    Raises:
        DataError: The network computes a NaN, or an infinity that a quantized file cannot.
    """
    refuse_non_finite_outputs(ran.outputs, network.graph, ran.samples, has_integers=bool(graphs))
    quantized = {}
    for precision, graph in graphs.items():
        step = partial(progress, f"Checking the operators of {precision.value}")
        quantized[precision] = _checked(graph, ran.samples, formats, step)
    head = network.splits.head
    return Reference(
        network.runtime,
        ran.samples,
        ran.outputs,
        quantized,
        prequantized,
        ran.probes,
        ran.allowances,
        network,
        joined_outputs(network.graph.graph, network.graph.opset_imports[""]),
        head is not None and head.kind is OutputKind.TOP5,
        network.run,
        narrow_floats(network.graph.graph),
        network.graph,
    )


def _checked(
    graph: QuantizedGraph,
    samples: Sequence[Sample],
    formats: Sequence[Format],
    progress: Callable[[int, int], None],
) -> Quantized:
    """What a quantized graph computes, and how its operators do in each format.

    ``progress`` is called with (done, total).
    """
    formats = list(dict.fromkeys(formats))
    progress(0, 1 + len(formats))
    try:
        exact = run_exactly(graph, samples)
    except EdgeconvError as error:
        return Quantized(graph.steps, refused=dict.fromkeys(formats, error))
    operators: dict[Format, OperatorFigures] = {}
    refused: dict[Format, EdgeconvError] = {}
    with Beside() as beside:
        checks: dict[Format, Callable[[], OperatorFigures]] = {
            format: partial(check_operators, format, graph, samples, exact.integers)
            for format in (formats if exact.integers else ())
        }
        if Format.ONNX in checks:
            checks[Format.ONNX] = beside.start(checks.pop(Format.ONNX))  # the last to wait for
        for done, (format, check) in enumerate(checks.items(), 1):
            progress(done, 1 + len(formats))
            found = attempted(check)
            if isinstance(found, EdgeconvError):
                unchecked = f"the operators are not checked in {format.value}: {found.message}"
                refused[format] = EdgeconvError(unchecked, found.hint)
            else:
                operators[format] = found
    return Quantized(graph.steps, exact.outputs, operators, refused)


def verified(
    folder: Path,
    artifacts: Sequence[Artifact],
    reference: Reference,
    progress: Progress = no_progress,
) -> tuple[list[Artifact], dict[str, EdgeconvError]]:
    """Run every file on its runtime, and hold it against the network.

    Args:
        folder: Where the files are.
        artifacts: The files.
        reference: What they are held against.
        progress: Called with (step, done, total), a file at a time.

    Returns:
        The artifacts with their figures, without them where a runtime refused a file; and why each
        file that is not right failed, by its path.
    """
    found = verify_artifacts(folder, artifacts, reference, progress=progress)
    failures: dict[str, EdgeconvError] = {}
    for artifact in artifacts:
        refused = found.refused.get(artifact.path)
        quantized = reference.quantized.get(artifact.precision)
        if refused is None and quantized is not None:
            refused = quantized.refused.get(artifact.format)
        if refused is not None:
            failures[artifact.path] = refused
        elif not (figures := found.figures[artifact.path]).passed:
            failures[artifact.path] = failure(artifact, figures, reference.runtime, reference)
    return [
        artifact.model_copy(update={"verification": found.figures.get(artifact.path)})
        for artifact in artifacts
    ], failures


def warn_of_failures(failures: Mapping[str, EdgeconvError]) -> None:
    """Say why files failed that are kept although they did."""
    for path, error in failures.items():
        message = error.message if path in error.message else f"{path}: {error.message}"
        logger.warning(Notice(message, error.hint) if error.hint else message)
