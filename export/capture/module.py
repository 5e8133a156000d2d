"""Capture an ``nn.Module`` with PyTorch's own exporter."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.errors import CaptureError
from edgeconv.export.attention import plain_attention
from edgeconv.export.capture.materialize import materialized
from edgeconv.export.capture.refusal import inexpressible, untraceable
from edgeconv.export.capture.translations import translate
from edgeconv.export.quiet import debugging, quiet_python
from edgeconv.export.threads import one_torch_thread


def capture_module(
    network: nn.Module, example: Sequence[np.ndarray], output_names: Sequence[str], opset: int
) -> ir.Model:
    """Trace ``network`` on ``example`` inputs with PyTorch's own exporter.

    Args:
        network: a module in eval mode.
        example: one float32 array per input; their shapes become the graph's static shapes.
        output_names: names for the graph's outputs, in order.
        opset: version of the ai.onnx operator set, 18 to 23.

    Raises:
        CaptureError: the exporter cannot express the network, or wrote another opset.
    """
    inputs = tuple(torch.from_numpy(array) for array in example)
    traced = materialized(network)
    with quiet_python(), one_torch_thread(), plain_attention(), torch.no_grad():
        try:
            with _without_printed_graphs():
                program = torch.export.export(traced, inputs, strict=False)
        except Exception as error:  # the user's forward() may raise anything
            raise untraceable(traced, _shapes(example), error) from error
        try:
            exported = torch.onnx.export(
                translate(program),
                dynamo=True,
                opset_version=opset,
                output_names=output_names,
                verbose=False,
                optimize=False,  # its optimizer is not exact; see passes/simplification.py
            )
        except Exception as error:
            raise inexpressible(traced, error) from error
    if exported is None:
        raise CaptureError(f"torch.onnx.export returned nothing for {type(network).__name__}")
    model = exported.model
    written = model.graph.opset_imports[""]
    if written != opset:
        raise CaptureError(f"torch.onnx.export wrote opset {written} where {opset} was asked for")
    return model


@contextmanager
def _without_printed_graphs() -> Iterator[None]:
    """Discard the graph that torch.export prints when a network decides by a tensor's value."""
    if debugging():
        yield
        return
    with redirect_stderr(io.StringIO()):
        yield


def _shapes(arrays: Sequence[np.ndarray]) -> str:
    return ", ".join("×".join(map(str, array.shape)) for array in arrays)
