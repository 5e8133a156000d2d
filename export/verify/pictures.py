"""The network itself behind its normalization, for files that take pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.export.image_input import BYTE, Normalization
from edgeconv.export.verify.reference import Oracle


def on_pictures(network: Oracle, how: Normalization) -> Oracle:
    """``network`` on pictures, which are normalized as a caller of it would do it."""
    return lambda sample: network((how.normalized(sample[0]),))


class Normalized(nn.Module):
    """A module on pictures, in whatever type these have: float64 shows what float32 rounds."""

    def __init__(self, network: nn.Module, how: Normalization) -> None:
        super().__init__()
        self.network, self.how = network, how

    def forward(self, pictures: torch.Tensor) -> object:
        """Run the network on ``pictures``, normalized."""
        how = self.how
        x = pictures.movedim(-1, 1) if how.moved else pictures
        x = x.flip(how.axis) if how.reversed else x
        along = [-1 if axis == how.axis else 1 for axis in range(x.ndim)]
        mean, std = (
            x.new_tensor(np.array(each) / BYTE).reshape(along) for each in (how.mean, how.deviation)
        )
        return self.network((x / BYTE - mean) / std)


def file_on_pictures(file: Path | bytes, graph: ir.Model, how: Normalization) -> bytes:
    """An ``.onnx`` file with the normalization in front.

    Args:
        file: The file or its bytes.
        graph: The graph that was captured from it, whose input has a static shape.
        how: The normalization.
    """
    proto = onnx.load(file) if isinstance(file, Path) else onnx.load_model_from_string(file)
    model = ir.from_proto(proto)
    weights = model.graph.initializers
    inputs = [value for value in model.graph.inputs if value.name not in weights]
    model.graph.inputs[:] = inputs  # opset 8 and before list the weights, too
    inputs[0].shape = graph.graph.inputs[0].shape
    content: bytes = ir.to_proto(how.in_front(model)).SerializeToString()
    return content
