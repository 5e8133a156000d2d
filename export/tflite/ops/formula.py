"""Operators that TFLite does not have, as arithmetic on the elements of one input."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.graph import Activation, Options, Tensor
from edgeconv.export.tflite.site import Site


class Formula:
    """Float arithmetic on the first input of a node, one call an operator.

    Numbers among the operands become constants.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        stored = site.stored(0)
        self.x, self._order = stored.tensor, stored.order
        self._count = 0

    def __call__(
        self, name: str, *operands: Tensor | float, fused: Activation = Activation.NONE
    ) -> Tensor:
        result = self.site.fresh(f"{name.lower()}{self._count}", self.x.shape)
        self._count += 1
        options: Options = {"fusedActivationFunction": fused} if fused else {}
        self.site.builder.emit(name, [self._tensor(item) for item in operands], [result], options)
        return result

    def finish(self, tensor: Tensor) -> None:
        """``tensor`` is the node's result."""
        self.site.finish(tensor, self._order)

    def _tensor(self, operand: Tensor | float) -> Tensor:
        if isinstance(operand, Tensor):
            return operand
        number = np.array(operand, FLOAT)
        return self.site.builder.constant(number, f"{self.site.name}/{operand:g}")
