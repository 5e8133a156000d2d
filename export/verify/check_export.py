"""Run the network itself, and check every file of an export against it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx_ir as ir
from torch import nn

from edgeconv.bundle import Artifact, Format, OperatorFigures, Precision, TensorInfo
from edgeconv.errors import EdgeconvError, Notice
from edgeconv.export.data.samples import Sample
from edgeconv.export.joined import joined_outputs
from edgeconv.export.precision import QuantizedGraph
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.verify.float64 import float32_allowances, run_probes
from edgeconv.export.verify.operators import check_operators, run_exactly
from edgeconv.export.verify.parity import (
    Allowances,
    Outputs,
    Probes,
    Quantized,
    Reference,
    failure,
    verify_artifacts,
)
from edgeconv.export.verify.reference import Oracle, refuse_non_finite_outputs
from edgeconv.progress import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetworkItself:
    """The network that the files are held against.

    Attributes:
        source: The module or the ``.onnx`` file.
        run: Runs it in float32.
        graph: The optimized graph that was captured from it.
    """

    source: nn.Module | Path
    run: Oracle
    graph: ir.Model

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


def run_reference(
    network: NetworkItself,
    samples: list[Sample],
    graphs: Mapping[Precision, QuantizedGraph],
    progress: Progress,
    *,
    formats: Sequence[Format],
    prequantized: bool,
    has_float32: bool,
    strict: bool,
) -> Reference:
    """Run the network on the samples, and collect what the files are held against.

    Args:
        network: The network itself.
        samples: Inputs in the network's own layout.
        graphs: What the files of each quantized precision should compute.
        progress: Called with (step, done, total).
        formats: The formats that are written.
        prequantized: Whether the network is quantized already.
        has_float32: Whether float32 files are written, which are held against probes too.
        strict: Whether it is an error that operators cannot be checked; otherwise it is a warning.

    Raises:
        DataError: The network computes a NaN or an infinity.
        EdgeconvError: A runtime refuses the operators of a quantized graph.
    """
    outputs: list[Outputs] = []
    for done, sample in enumerate(samples):
        progress("Running the network itself", done, len(samples))
        outputs.append(network.run(sample))
        refuse_non_finite_outputs(outputs[-1])
    quantized = {}
    for precision, graph in graphs.items():
        progress(f"Checking the operators of {precision.value}", 0, 1)
        quantized[precision] = _checked(graph, samples, formats, strict=strict)
    probes = run_probes(network.run, samples[0]) if has_float32 else Probes([], [])
    allowances = partial(
        float32_allowances,
        network.graph,
        network.source,
        network.run,
        [*samples, *probes.inputs],
        [*outputs, *probes.outputs],
    )
    return Reference(
        network.runtime,
        samples,
        outputs,
        quantized,
        prequantized,
        probes,
        Allowances(allowances),
        network,
        joined_outputs(network.graph.graph, network.graph.opset_imports[""]),
    )


def _checked(
    graph: QuantizedGraph, samples: Sequence[Sample], formats: Sequence[Format], *, strict: bool
) -> Quantized:
    """What a quantized graph computes, and how its operators do in each format."""
    exact = run_exactly(graph, samples)

    def figures(format: Format) -> OperatorFigures | None:
        try:
            return check_operators(format, graph, samples, exact.integers)
        except EdgeconvError as error:
            if strict:
                raise
            logger.warning("the operators are not checked in %s: %s", format.value, error.message)
            return None

    found = {format: figures(format) for format in dict.fromkeys(formats) if exact.integers}
    operators = {format: each for format, each in found.items() if each is not None}
    return Quantized(graph.steps, exact.outputs, operators)


def verified(
    folder: Path, artifacts: Sequence[Artifact], reference: Reference, *, strict: bool
) -> list[Artifact]:
    """Run every file on its runtime, and hold it against the network.

    Args:
        folder: Where the files are.
        artifacts: The files.
        reference: What they are held against.
        strict: Whether a failure is an error; otherwise it is a warning.

    Returns:
        The artifacts with their figures; without them where a runtime refused a file.

    Raises:
        VerificationError: A file differs from the network more than its precision explains.
        EdgeconvError: A runtime refuses its file.
    """
    try:
        figures = verify_artifacts(folder, artifacts, reference)
    except EdgeconvError as error:
        if strict:
            raise
        logger.warning("not verified: %s", error.message)
        return list(artifacts)
    for artifact in artifacts:
        verification = figures[artifact.path]
        if not verification.passed:
            failed = failure(artifact.path, artifact.precision, verification, reference.runtime)
            if strict:
                raise failed
            logger.warning(Notice(failed.message, failed.hint))
    return [
        artifact.model_copy(update={"verification": figures[artifact.path]})
        for artifact in artifacts
    ]
