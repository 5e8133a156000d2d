"""Operators that TFLite does not have, as arithmetic on the elements of one input."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.graph import Activation, Options, Tensor
from edgeconv.export.tflite.node_lowering import NodeLowering


class Formula:
    """Float arithmetic on the first input of a node, one call an operator.

    Numbers among the operands become constants. In integer mode the input is dequantized first and
    the result quantized. XNNPACK makes a table of the 256 codes of that where it knows each of the
    operators (ten at most) and each reads the result of the one before, once.
    """

    def __init__(self, ctx: NodeLowering) -> None:
        self.ctx = ctx
        stored = ctx.stored(0)
        self._order = stored.order
        self._count = 0
        self.x = ctx.builder.to_float(stored.tensor) if ctx.integer else stored.tensor

    def __call__(
        self,
        name: str,
        *operands: Tensor | float,
        fused: Activation = Activation.NONE,
        options: Options | None = None,
    ) -> Tensor:
        name_of_result = f"{self.ctx.result.name}/{name.lower()}{self._count}"
        result = Tensor(name_of_result, self.x.shape, FLOAT)
        self._count += 1
        stated: Options = {**(options or {})}
        if fused:
            stated["fusedActivationFunction"] = fused
        self.ctx.builder.emit(name, [self._tensor(item) for item in operands], [result], stated)
        return result

    def finish(self, tensor: Tensor) -> None:
        """``tensor`` is the node's result."""
        if self.ctx.integer:
            self.ctx.emit_stored("QUANTIZE", [tensor], tensor.shape, self._order)
        else:
            self.ctx.finish(tensor, self._order)

    def _tensor(self, operand: Tensor | float) -> Tensor:
        if isinstance(operand, Tensor):
            return operand
        number = np.array(operand, FLOAT)
        return self.ctx.builder.constant(number, f"{self.ctx.name}/{operand:g}")
