"""Integer weights of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.quantize.integer_forms import fused_output
from edgeconv.export.quantize.layers import constant, has_bias
from edgeconv.export.quantize.operators import WEIGHT_AXIS
from edgeconv.export.quantize.parameters import (
    ActivationParameters,
    WeightParameters,
    weight_parameters,
)


@dataclass(frozen=True)
class QuantizedWeight:
    """The integers of a weight, in the layout of its operator, and their parameters."""

    integers: npt.NDArray[np.int8]
    parameters: WeightParameters

    @property
    def real(self) -> npt.NDArray[np.float32]:
        """The real weight that the integers stand for."""
        scale = self.parameters.aligned_scale(self.integers.ndim)
        real: npt.NDArray[np.float32] = self.integers * scale
        return real


def round_to_nearest(
    node: ir.Node,
    activations: Mapping[str, ActivationParameters],
    *,
    per_tensor: bool = False,
) -> QuantizedWeight:
    """Quantize the weight of a Conv, ConvTranspose, Gemm or MatMul to the nearest integers.

    Args:
        node: The layer.
        activations: The parameters of the activations around it, by name.
        per_tensor: Whether all output channels share one scale.
    """
    x = node.inputs[0]
    assert x is not None
    input_scale = activations[str(x.name)].scale
    output = activations.get(str(fused_output(node.outputs[0]).name))
    output_scale = np.inf if output is None else output.scale
    weight = constant(node, 1)
    bias = constant(node, 2) if has_bias(node) else None
    parameters = weight_parameters(
        weight, _output_axis(node), bias, input_scale, output_scale, per_tensor=per_tensor
    )
    return QuantizedWeight(parameters.quantize(weight), parameters)


def _output_axis(node: ir.Node) -> int | None:
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    if node.op_type == "MatMul" and constant(node, 1).ndim > 2:
        return None  # TFLite's BATCH_MATMUL has one scale for all matrices
    return WEIGHT_AXIS[node.op_type]
