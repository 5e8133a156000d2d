"""The weights of convolutions and matrix products in one form for all operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, constant_array
from edgeconv.export.quantize.operators import OPERATORS, Kind

Array = npt.NDArray[Any]


class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul with constant parameters.

    Its weight is seen as [groups, outputs per group, inputs per group, taps]. So input channel
    ``c`` is [c // inputs, :, c % inputs], and output channel ``c`` is [c // outputs, c % outputs].
    Of a MatMul with several matrices each is a group.

    Args:
        editor: Of the graph of the node; layers that are changed together share it.
        node: The node.
    """

    def __init__(self, editor: GraphEditor, node: ir.Node) -> None:
        self._editor = editor
        self.node = node

    @property
    def x(self) -> ir.Value:
        """The activation that it reads."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def name(self) -> str:
        """The name of the output, because values have names even where nodes have none."""
        return str(self.node.outputs[0].name)

    @property
    def weight(self) -> Array:
        """The weight as [groups, outputs per group, inputs per group, taps]."""
        return grouped(self.node, constant(self.node, 1))

    @property
    def bias(self) -> Array:
        """The bias as [outputs]; zeros where there is none."""
        if has_bias(self.node):
            return constant(self.node, 2)
        groups, outputs = self.weight.shape[:2]
        return np.zeros(groups * outputs, np.float32)

    def set_weight(self, weight: Array) -> None:
        """Replace the weight by a [groups, outputs, inputs, taps] array."""
        self._set(1, ungrouped(self.node, weight, constant(self.node, 1).shape))

    def set_bias(self, bias: Array) -> None:
        """Replace the bias, or add one, by an array of shape [outputs]."""
        self._set(2, bias)

    def _set(self, index: int, array: Array) -> None:
        """Replace a parameter; one that other nodes read too becomes the node's own before."""
        array = array.astype(np.float32)
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is not None and len(value.uses()) == 1 and not value.is_graph_output():
            value.const_value = ir.Tensor(np.ascontiguousarray(array), name=value.name)
            return
        value = self._editor.constant(f"{self.name}_parameter_{index}", array)
        if index == len(self.node.inputs):
            self.node.resize_inputs(index + 1)
        self.node.replace_input_with(index, value)


def has_bias(node: ir.Node) -> bool:
    """Whether a layer's node has a bias."""
    return len(node.inputs) > 2 and node.inputs[2] is not None


def constant(node: ir.Node, index: int) -> Array:
    """The elements of input ``index``, which must be an initializer."""
    return constant_array(node.inputs[index])


def is_weighted(node: ir.Node) -> bool:
    """Whether ``node`` is a Conv, ConvTranspose, Gemm or MatMul with constant parameters."""
    operator = OPERATORS.get(node.op_type) if node.domain == "" else None
    return (
        operator is not None
        and operator.kind is Kind.WEIGHTED
        and all(value is None or value.const_value is not None for value in node.inputs[1:])
        and node.outputs[0].dtype == ir.DataType.FLOAT
    )


def grouped(node: ir.Node, weight: Array) -> Array:
    """Reshape a weight of ``node`` to [groups, outputs per group, inputs per group, taps]."""
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "Conv":
        return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    if node.op_type == "ConvTranspose":
        shape = (groups, weight.shape[0] // groups, weight.shape[1], -1)
        transposed: Array = weight.reshape(shape).swapaxes(1, 2)
        return transposed
    matrices: Array = weight if _is_transposed(node) else weight.swapaxes(-1, -2)
    return matrices.reshape(-1, *matrices.shape[-2:], 1)


def ungrouped(node: ir.Node, weight: Array, shape: tuple[int, ...]) -> Array:
    """Reshape a grouped weight to the ``shape`` that ``node`` takes; the inverse of `grouped`."""
    if node.op_type == "ConvTranspose" or (
        node.op_type in ("Gemm", "MatMul") and not _is_transposed(node)
    ):
        weight = weight.swapaxes(1, 2)
    return np.ascontiguousarray(weight).reshape(shape)


def _is_transposed(node: ir.Node) -> bool:
    return bool(node.attributes.get_int("transB", 0))
