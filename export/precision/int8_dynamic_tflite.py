"""int8 weights with float activations in TFLite: the hybrid kernels.

CONV_2D with a float input and int8 weights quantizes each item of a batch by its own range while
it runs. FULLY_CONNECTED takes weights with a scale for each output since version 12, which
tflite-runtime 2.14 does not load; it is written as the 1×1 CONV_2D of its rows.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edgeconv.export.precision.int8_weights import int8_weights
from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.graph import (
    ChannelQuantization,
    Graph,
    Operator,
    Options,
    Padding,
    Tensor,
)

_OUTPUT_AXIS = 0  # CONV_2D: output, height, width, input; FULLY_CONNECTED: output, input


def quantize_weights(graph: Graph, weights: Collection[str]) -> tuple[()]:
    """Store the constants named ``weights`` as int8 where CONV_2D or FULLY_CONNECTED read them.

    The integers and scales are those that
    :func:`~edgeconv.export.precision.int8_dynamic_onnx.quantize_dynamically` gives the ONNX graph.
    """
    stored: dict[int, Tensor] = {}
    operators: list[Operator] = []
    for operator in graph.operators:
        weight = operator.inputs[1] if len(operator.inputs) > 1 else None
        takes = operator.name in ("CONV_2D", "FULLY_CONNECTED")
        if weight is None or not takes or weight.name not in weights or not _is_float(weight):
            operators.append(operator)
            continue
        if id(weight) not in stored:
            stored[id(weight)] = _quantized(weight)
        operator.inputs = [operator.inputs[0], stored[id(weight)], *operator.inputs[2:]]
        operators += [operator] if operator.name == "CONV_2D" else _as_convolution(operator)
    graph.operators = operators
    return ()


def _is_float(weight: Tensor) -> bool:
    return weight.data is not None and weight.dtype == FLOAT


def _quantized(weight: Tensor) -> Tensor:
    assert weight.data is not None
    real = np.asarray(weight.data, FLOAT).reshape(weight.shape)
    parameters = int8_weights(real, _OUTPUT_AXIS)
    codes = parameters.quantize(real)
    quantization = ChannelQuantization(parameters.scale, _OUTPUT_AXIS)
    return Tensor(weight.name, weight.shape, codes.dtype, codes, quantization)


def _as_convolution(operator: Operator) -> list[Operator]:
    """FULLY_CONNECTED as RESHAPE, CONV_2D, RESHAPE."""
    x, weight, *bias = operator.inputs
    (result,) = operator.outputs
    assert weight.data is not None
    units, depth = weight.shape
    rows = int(np.prod(x.shape)) // depth
    kernel = Tensor(
        weight.name,
        (units, 1, 1, depth),
        weight.dtype,
        weight.data.reshape(units, 1, 1, depth),
        weight.quantization,
    )
    pixels = Tensor(f"{result.name}/rows", (rows, 1, 1, depth), FLOAT)
    product = Tensor(f"{result.name}/product", (rows, 1, 1, units), FLOAT)
    options: Options = {"padding": Padding.VALID, "strideH": 1, "strideW": 1}
    if "fusedActivationFunction" in operator.options:
        options["fusedActivationFunction"] = operator.options["fusedActivationFunction"]
    return [
        _reshape(x, pixels),
        Operator("CONV_2D", [pixels, kernel, *bias], [product], options),
        _reshape(product, result),
    ]


def _reshape(x: Tensor, result: Tensor) -> Operator:
    shape = np.array(result.shape, np.int32)
    constant = Tensor(f"{result.name}/shape", shape.shape, shape.dtype, shape)
    return Operator("RESHAPE", [x, constant], [result], {"newShape": result.shape})
