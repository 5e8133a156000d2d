"""Writes an operator that TFLite does not have as other ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.builder import FLOAT, static_shape
from edgeconv.export.tflite.graph import Array
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.new_graph import Frame, NewGraph

Place = Callable[[Call, Frame], Sequence[ir.Value | None]]
"""Writes out a node, decomposed or not, and returns its results."""

VERSION = 20
"""The opset of what is written here, if the model has not a later one."""

Operand = ir.Value | Array | np.generic | float | list[int]
Attribute = int | float | str | list[int]


class Decomposer(Call):
    """The node that is to be written as others, and one call for each of them.

    ``version`` is the node's opset. Arrays and numbers among the operands of a call become
    constants: floats float32, integers int64 (numpy's keep their type).
    """

    def __init__(self, new: NewGraph, place: Place, call: Call, frame: Frame) -> None:
        super().__init__(call.node, call.inputs, call.attributes)
        self._new, self._place = new, place
        self.version = frame.opsets.get("", VERSION)
        opsets = {**frame.opsets, "": max(VERSION, self.version)}
        self._outer = frame
        self._frame = replace(frame, opsets=opsets, given={})

    def __call__(self, op_type: str, *operands: Operand, **attributes: Attribute) -> ir.Value:
        """The result of a node of ``op_type``, which is not composed itself."""
        values = [self._value(operand) for operand in operands]
        stated = [ir.convenience.convert_attribute(name, item) for name, item in attributes.items()]
        return self._new.emit(op_type, values, stated, self._frame)

    def again(self, inputs: Sequence[ir.Value | None]) -> ir.Value:
        """The result of the same operator for other inputs, composed again if it has to be."""
        (result,) = self.again_all(inputs)
        return result

    def again_all(self, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
        """All results of the same operator for other inputs; see :meth:`again`."""
        results = self._place(Call(self.node, inputs, self.attributes), self._outer)
        return [result for result in results if result is not None]

    def shape(self, value: ir.Value) -> Shape:
        """Return the shape of a value of the new graph."""
        return static_shape(value)

    def known(self, index: int) -> Array | None:
        """The elements of an input, if they are known; None if it is left out, too."""
        value = self.inputs[index] if index < len(self.inputs) else None
        return self._new.elements(value)

    def demand(self, index: int, what: str) -> Array:
        """The elements of an input that has to be constant."""
        array = self.known(index)
        if array is None:
            raise self.unsupported(
                f"its {what} is computed by the network", f"make the {what} constant"
            )
        return array

    def _value(self, operand: Operand) -> ir.Value:
        if isinstance(operand, ir.Value):
            return operand
        array = np.asarray(operand)
        if array.dtype == np.float64:
            array = array.astype(FLOAT)
        return self._new.constant(array, f"{self._frame.scope}constant")
