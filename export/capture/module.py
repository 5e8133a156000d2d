"""Capture an ``nn.Module`` with PyTorch's own exporter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.errors import CaptureError, first_line
from edgeconv.export.capture.phases import mend_phases
from edgeconv.export.capture.translations import TRANSLATIONS
from edgeconv.export.quiet import quiet_python
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
    with quiet_python(), one_torch_thread(), torch.no_grad():
        try:
            program = torch.export.export(network, inputs, strict=False)
        except Exception as error:  # the user's forward() may raise anything
            raise CaptureError(
                f"torch.export cannot trace {type(network).__name__} on inputs of shape "
                f"{_shapes(example)}: {first_line(error)}",
                hint=_hint(error),
            ) from error
        try:
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                output_names=output_names,
                verbose=False,
                optimize=False,  # its optimizer is not exact; see passes/simplification.py
                custom_translation_table=dict(TRANSLATIONS),
            )
        except Exception as error:
            raise CaptureError(
                f"torch.onnx.export cannot express {type(network).__name__} as ONNX: "
                f"{first_line(error)}"
            ) from error
    if exported is None:
        raise CaptureError(f"torch.onnx.export returned nothing for {type(network).__name__}")
    model = exported.model
    written = model.graph.opset_imports[""]
    if written != opset:
        raise CaptureError(f"torch.onnx.export wrote opset {written} where {opset} was asked for")
    mend_phases(model.graph)
    return model


def _hint(error: Exception) -> str:
    if "data-dependent" in str(error):
        return "use torch.where where the network decides by a tensor's value"
    return ""


def _shapes(arrays: Sequence[np.ndarray]) -> str:
    return ", ".join("×".join(map(str, array.shape)) for array in arrays)
