"""One node of ONNX Runtime's own that is to be written as others of the standard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import CaptureError
from edgeconv.export.graph_edit import GraphEditor, known_array


class Operators:
    """Has a method for every operator, which adds a node and returns its result."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []

    def __getattr__(self, name: str) -> Callable[..., ir.Value]:
        def write(*inputs: ir.Value, **attributes: Any) -> ir.Value:
            self.nodes.append(ir.node(name, inputs, attributes))
            return self.nodes[-1].outputs[0]

        return write


class Writer:
    """One node that is to be written as others.

    Attributes:
        op: Writes an operator of the standard and returns its result: ``op.Add(x, y)``.
    """

    def __init__(self, model: ir.Model, editor: GraphEditor, node: ir.Node) -> None:
        self.node, self._model, self._editor = node, model, editor
        self.op = Operators()

    def input(self, index: int) -> ir.Value:
        """An input that the operator demands."""
        value = self.optional(index)
        if value is None:
            raise self.refused(f"input {index} is missing", "check the model with onnx.checker")
        return value

    def optional(self, index: int) -> ir.Value | None:
        """An input that may be left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return self.optional(index) is not None

    def constant(self, array: Any) -> ir.Value:
        """A constant; numbers become float32."""
        array = np.asarray(array)
        name = f"{self.node.outputs[0].name}_constant"
        return self._editor.constant(
            name, array.astype(np.float32) if array.dtype == np.float64 else array
        )

    def number(self, name: str, default: float) -> float:
        """An attribute that is a float."""
        return self.node.attributes.get_float(name, default)

    def flag(self, name: str, default: int = 0) -> bool:
        """An attribute that is 0 or 1."""
        return bool(self.node.attributes.get_int(name, default))

    def kept(self, *without: str) -> dict[str, Any]:
        """The attributes, but for those of the fusion."""
        return {
            name: item.value
            for name, item in self.node.attributes.items()
            if name not in without and item.value is not None
        }

    def refused(self, what: str, remedy: str) -> CaptureError:
        """Make the error that says why this node cannot be written otherwise."""
        title = f"{self.node.name or self.node.outputs[0].name} ({self.node.op_type})"
        return CaptureError(f"{title}: {what}", hint=remedy)

    def rank(self, x: ir.Value) -> int:
        """How many dimensions an input has.

        ONNX infers nothing of what is behind operators that it does not know. What is before this
        node is of the standard by now.

        Raises:
            CaptureError: It does not follow from the inputs of the network.
        """
        if x.shape is None:
            infer = common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)
            infer(self._model)
        if x.shape is None:
            raise self.refused(
                f"the rank of {x.name} is not known", "save the file without optimization"
            )
        return len(x.shape)

    def size(self, x: ir.Value, axis: int) -> int:
        """How many elements an input has along an axis.

        Raises:
            CaptureError: It does not follow from the inputs of the network.
        """
        self.rank(x)
        assert x.shape is not None
        found = x.shape[axis]
        if not isinstance(found, int):
            raise self.refused(
                f"a size of {x.name} is not known", "state the shapes of the inputs with --input"
            )
        return found

    def is_used(self, index: int) -> bool:
        """Whether a result is read."""
        if index >= len(self.node.outputs):
            return False
        value = self.node.outputs[index]
        return bool(value.uses()) or value.is_graph_output()

    def real(self, first: int, axis: int | None = None) -> ir.Value:
        """What the codes, scale and zero point from input ``first`` on mean.

        Args:
            first: The index of the codes.
            axis: What a scale or zero point with several elements is along.
        """
        given = [self.input(first + 1), self.optional(first + 2)]
        known = [None if value is None else known_array(value) for value in given]
        size = max((array.size for array in known if array is not None), default=1)
        attributes = {} if size == 1 or axis is None else {"axis": axis}
        if size > 1:
            # QLinearConv takes one of the two for the tensor beside the other for each channel.
            given = [
                value
                if array is None or array.size == size
                else self.constant(np.full(size, array.item(), array.dtype))
                for value, array in zip(given, known, strict=True)
            ]
        operands = [value for value in given if value is not None]
        return self.op.DequantizeLinear(self.input(first), *operands, **attributes)

    def codes(self, value: ir.Value, first: int) -> ir.Value:
        """The codes of ``value`` by the scale and zero point from input ``first`` on."""
        zero = self.optional(first + 1)
        if zero is None:
            zero = self.constant(np.zeros((), np.uint8))
        return self.op.QuantizeLinear(value, self.input(first), zero)

    def bias(self, index: int, factor: float = 1.0, scales: tuple[int, int] = (1, 4)) -> ir.Value:
        """An int32 bias, whose scale is the product of the two others."""
        product = np.float32(factor)
        for position in scales:
            known = known_array(self.input(position))
            if known is None:
                raise self.refused("its scales are not constant", "quantize it statically")
            product = np.asarray(product * known, np.float32)
        product = product.reshape(()) if product.size == 1 else product
        attributes = {} if product.ndim == 0 else {"axis": 0}
        return self.op.DequantizeLinear(self.input(index), self.constant(product), **attributes)


Write = Callable[[Writer], Sequence[ir.Value]]
"""Writes the others, and returns the results of the node."""
