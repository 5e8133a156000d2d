"""Capture an ``nn.Module`` with PyTorch's own exporter."""

from __future__ import annotations

import inspect
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from unittest.mock import patch

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.errors import CaptureError
from edgeconv.export.attention import plain_attention
from edgeconv.export.capture.arguments import Called, name_of
from edgeconv.export.capture.constants import with_constants
from edgeconv.export.capture.drawn import refuse_dropped
from edgeconv.export.capture.float32 import compute_in_float32
from edgeconv.export.capture.kernel_types import compute_where_kernels_are
from edgeconv.export.capture.masked_rows import zero_masked_rows
from edgeconv.export.capture.materialize import materialized
from edgeconv.export.capture.module_calls import counted_calls
from edgeconv.export.capture.module_names import name_by_module
from edgeconv.export.capture.outputs import named_outputs
from edgeconv.export.capture.real_bins import clear_real_bins
from edgeconv.export.capture.refusal import inexpressible, untraceable
from edgeconv.export.capture.translations import ONNX_FUNCTIONS, TABLE, Traceable, translate
from edgeconv.export.capture.translations.table import before
from edgeconv.export.capture.unparsed_functions import unparsed_functions
from edgeconv.export.capture.wrapped import Wrapped, own_name
from edgeconv.export.graph_edit import own_outputs
from edgeconv.export.quiet import debugging, quiet_python
from edgeconv.export.threads import one_torch_thread
from edgeconv.miscounted import tried_again
from edgeconv.progress import Progress, no_progress


def capture_module(
    network: nn.Module,
    example: Sequence[np.ndarray],
    output_names: Sequence[str],
    opset: int,
    progress: Progress = no_progress,
    calls: int = 0,
) -> ir.Model:
    """Trace ``network`` on ``example`` inputs with PyTorch's own exporter.

    Args:
        network: A module in eval mode that takes its inputs one after the other.
        example: One array per input; their shapes become the graph's static shapes.
        output_names: Names for the graph's outputs, in order.
        opset: Version of the ai.onnx operator set, 18 to 23.
        progress: Called with how much is traced, and when the translation begins.
        calls: How many modules an ordinary run calls; 0 where that is not known.

    Raises:
        CaptureError: The exporter cannot express the network, or wrote another opset.
    """
    return tried_again(lambda: _captured(network, example, output_names, opset, progress, calls))


def _captured(
    network: nn.Module,
    example: Sequence[np.ndarray],
    output_names: Sequence[str],
    opset: int,
    progress: Progress,
    calls: int,
) -> ir.Model:
    names = _input_names(network, len(example))
    inputs = tuple(torch.from_numpy(array.copy()) for array in example)
    traced = materialized(network)
    with quiet_python(), one_torch_thread(), plain_attention(), torch.no_grad():
        program = _traced(network, traced, inputs, progress, calls)
        refuse_dropped(program, name_of(network))
        progress("Translating into ONNX", 0, 1)
        try:
            exported = _written(program, names, output_names, opset)
        except Exception as error:
            try:
                exported = _written(with_constants(program), names, output_names, opset)
            except Exception:  # the first error knows where the user wrote what fails
                raise inexpressible(name_of(network), error) from error
    if exported is None:
        raise CaptureError(
            f"torch.onnx.export returned nothing for {name_of(network)}",
            hint="edgeconv --debug shows what it says",
        )
    model = exported.model
    written = model.graph.opset_imports[""]
    if written != opset:
        raise CaptureError(
            f"torch.onnx.export wrote opset {written} of {name_of(network)} where {opset} was "
            "asked for",
            hint=f"pass --opset {written}",
        )
    for value, name in zip(model.graph.inputs, names, strict=True):
        value.name = name
    zero_masked_rows(model.graph)
    own_outputs(model.graph, output_names)
    _name_weights(model.graph)
    name_by_module(model.graph)
    clear_real_bins(model.graph)
    compute_in_float32(model, name_of(network))
    compute_where_kernels_are(model)
    return model


def _traced(
    network: nn.Module,
    traced: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    progress: Progress,
    calls: int,
) -> torch.export.ExportedProgram:
    """The program of ``traced``, which is ``network`` with its weights in place."""

    def report(count: int) -> None:
        progress("Tracing the network", min(count - 1, calls), calls)

    with counted_calls(report) as counter:
        try:
            with _without_printed_graphs(), Traceable():
                return torch.export.export(_Flat(traced), inputs, strict=False)
        except Exception as error:  # the user's forward() may raise anything
            if counter.error is not None:  # whoever is informed may end the export
                raise counter.error from None
            raise untraceable(name_of(network), traced, inputs, error) from error


def _written(
    program: torch.export.ExportedProgram,
    names: Sequence[str],
    output_names: Sequence[str],
    opset: int,
) -> torch.onnx.ONNXProgram | None:
    """The program in ONNX; what it is decomposed into is translated, too."""
    # The exporter takes no table of ours; this one gets its own entries back.
    own = torch._decomp.decomposition_table
    with patch.dict(own, before(TABLE, dict(own))), unparsed_functions():
        return torch.onnx.export(
            translate(program),
            dynamo=True,
            opset_version=opset,
            input_names=names,
            output_names=output_names,
            verbose=False,
            optimize=False,  # its optimizer is not exact; see passes/simplification.py
            custom_translation_table=dict(ONNX_FUNCTIONS),
        )


@contextmanager
def _without_printed_graphs() -> Iterator[None]:
    """Discard the graph that torch.export prints when a network decides by a tensor's value."""
    if debugging():
        yield
        return
    with redirect_stderr(io.StringIO()):
        yield


class _Flat(Wrapped):
    """A module that returns the tensors of another one as a tuple, in the order of their names."""

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(named_outputs(self.network(*tensors)).values())


def _input_names(network: nn.Module, count: int) -> list[str]:
    if isinstance(network, Called):
        return [info.name for info in network.arguments.inputs]
    names = list(inspect.signature(network.forward).parameters)
    return names if len(names) == count else [f"input_{index}" for index in range(count)]


def _name_weights(graph: ir.Graph) -> None:
    """Give the weights the names that they have in the user's module."""
    taken = {value.name for value in graph.inputs}
    taken |= {value.name for node in graph for value in node.outputs}
    for name, value in list(graph.initializers.items()):
        own = own_name(name)
        if own not in taken:
            taken.add(own)
            value.name = own
