"""Multiply-accumulate operations (MACs) of one operator, from its shapes.

Convolutions, matrix products and recurrent cells count, with one MAC for each product of a weight
(or second operand) with an input value. Biases, elementwise operators and pooling do not count.
Padding counts as if it were data, as in papers. Each body of control flow counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import onnx_ir as ir

Shape = tuple[int, ...]
Shapes = Sequence[Shape | None]
Attributes = Mapping[str, Any]
Formula = Callable[[Shapes, Shapes, Attributes], int]


def onnx_macs(operator: str, inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int | None:
    """MACs of one ONNX node of the default or of ONNX Runtime's domain.

    0 for an operator that has none, None where a shape is missing or the formula is not known.
    """
    return _apply(_ONNX, operator, inputs, outputs, attributes)


def node_macs(node: ir.Node) -> int | None:
    """MACs of a node of a graph in memory; see :func:`onnx_macs`."""
    inputs, outputs = (
        [static_shape(v) for v in node.inputs],
        [static_shape(v) for v in node.outputs],
    )
    # Texts are bytes, as in a file.
    attributes = {
        name: each.value.encode() if isinstance(each.value, str) else each.value
        for name, each in node.attributes.items()
    }
    return onnx_macs(node.op_type, inputs, outputs, attributes)


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape of a value; None where it is not known, or a dimension is open."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def tflite_macs(operator: str, inputs: Shapes, outputs: Shapes, options: Attributes) -> int | None:
    """MACs of one TFLite operator; see :func:`onnx_macs`."""
    return _apply(_TFLITE, operator, inputs, outputs, options)


def _apply(
    formulas: Mapping[str, Formula | None],
    operator: str,
    inputs: Shapes,
    outputs: Shapes,
    attributes: Attributes,
) -> int | None:
    if operator not in formulas:
        return 0
    formula = formulas[operator]
    if formula is None:
        return None
    try:
        return formula(inputs, outputs, attributes)
    except (IndexError, KeyError, TypeError):  # an input is missing, or its shape or rank is
        return None


def _shape(shapes: Shapes, index: int) -> Shape:
    shape = shapes[index]
    if shape is None:
        raise TypeError("unknown shape")
    return shape


# ONNX. Layouts: X [N, C, ...], W of Conv [Cout, Cin/group, ...], W of ConvTranspose
# [Cin, Cout/group, ...].


def _conv(weight: int) -> Formula:
    def formula(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
        return prod(_shape(outputs, 0)) * prod(_shape(inputs, weight)[1:])

    return formula


def _conv_transpose(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
    return prod(_shape(inputs, 0)) * prod(_shape(inputs, 1)[1:])


def _gemm(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
    depth = _shape(inputs, 0)[0 if attributes.get("transA") else 1]
    return prod(_shape(outputs, 0)) * depth


def _matmul(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
    return prod(_shape(outputs, 0)) * _shape(inputs, 0)[-1]


def _einsum(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
    """Every index of the equation runs once; more than two operands are not counted."""
    terms = attributes["equation"].decode().replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "..." in "".join(terms):
        raise TypeError("unknown cost")
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        for label, size in zip(term, _shape(inputs, index), strict=False):
            sizes[label] = max(size, sizes.get(label, 1))
    return prod(sizes.values())


def _recurrent(inputs: Shapes, outputs: Shapes, attributes: Attributes) -> int:
    """X [length, batch, input] in either order, W [directions, gates, input], R [.., hidden]."""
    length_and_batch = prod(_shape(inputs, 0)[:2])
    return length_and_batch * (prod(_shape(inputs, 1)) + prod(_shape(inputs, 2)))


# None: the operator multiplies and accumulates, and its formula is not implemented.
_ONNX: dict[str, Formula | None] = {
    "Conv": _conv(1),
    "FusedConv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    **dict.fromkeys(
        ("Attention", "MultiHeadAttention", "GroupQueryAttention", "DeformConv", "QGemm")
    ),
}

# TFLite. Layouts: activations [N, ..., C], filter of CONV_2D and TRANSPOSE_CONV [Cout, H, W, Cin],
# of DEPTHWISE_CONV_2D [1, H, W, Cout], of CONV_3D [D, H, W, Cin, Cout], of FULLY_CONNECTED
# [Cout, Cin].


def _tflite_conv(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(outputs, 0)) * prod(_shape(inputs, 1)[1:])


def _tflite_depthwise(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(outputs, 0)) * prod(_shape(inputs, 1)[1:3])


def _tflite_transpose_conv(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(inputs, 2)) * prod(_shape(inputs, 1)[:3])


def _tflite_conv_3d(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(outputs, 0)) * prod(_shape(inputs, 1)[:4])


def _tflite_fully_connected(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(outputs, 0)) * _shape(inputs, 1)[-1]


def _tflite_batch_matmul(inputs: Shapes, outputs: Shapes, options: Attributes) -> int:
    return prod(_shape(outputs, 0)) * _shape(inputs, 0)[-2 if options["adj_x"] else -1]


_TFLITE: dict[str, Formula | None] = {
    "CONV_2D": _tflite_conv,
    "DEPTHWISE_CONV_2D": _tflite_depthwise,
    "TRANSPOSE_CONV": _tflite_transpose_conv,
    "CONV_3D": _tflite_conv_3d,
    "FULLY_CONNECTED": _tflite_fully_connected,
    "BATCH_MATMUL": _tflite_batch_matmul,
    **dict.fromkeys(("LSTM", "RNN", "SVDF", "CONV_3D_TRANSPOSE", "UNIDIRECTIONAL_SEQUENCE_LSTM")),
    **dict.fromkeys(("UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN")),
    **dict.fromkeys(("BIDIRECTIONAL_SEQUENCE_LSTM", "STABLEHLO_CONVOLUTION")),
    **dict.fromkeys(("STABLEHLO_DOT_GENERAL", "STABLEHLO_COMPOSITE")),
}
