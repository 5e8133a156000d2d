"""Short sequences of arithmetic operators, one call per operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeconv.export.tflite.graph import Activation, Array, Options, Tensor
from edgeconv.export.tflite.layout import Shape
from edgeconv.export.tflite.node_lowering import NodeLowering

Operand = Tensor | Array | float


class Arithmetic:
    """Emits operators on tensors of one element type; its instances are called with their names.

    Numbers and arrays among the operands become constants of that type. The operands broadcast,
    and the results are named after the result of the node. ``scope`` is a part of those names: two
    instances for one node need different ones.
    """

    def __init__(self, ctx: NodeLowering, scope: str = "") -> None:
        self.ctx = ctx
        self.scope = scope
        self._count = 0

    def __call__(
        self,
        name: str,
        *operands: Operand,
        fused: Activation = Activation.NONE,
        options: Options | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> Tensor:
        """Emit one operator.

        Args:
            name: the operator's name in the TFLite schema.
            operands: at least one tensor among them.
            fused: the activation that the operator applies to its result.
            options: the operator's options, by their names in the schema.
            dtype: the element type of the result, if it is not that of the tensors.

        Returns:
            The result.
        """
        own = next(item.dtype for item in operands if isinstance(item, Tensor))
        tensors = [self._tensor(item, own) for item in operands]
        shape = np.broadcast_shapes(*(item.shape for item in tensors))
        stated: Options = {**(options or {})}
        if fused:
            stated["fusedActivationFunction"] = fused
        return self.emit(name, tensors, shape, stated, dtype)

    def emit(
        self,
        name: str,
        inputs: Sequence[Tensor],
        shape: Shape,
        options: Options | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> Tensor:
        """Emit an operator whose result has the given shape, and the type of its first input."""
        title = f"{self.ctx.result.name}/{self.scope}{name.lower()}{self._count}"
        result = Tensor(title, shape, dtype or inputs[0].dtype)
        self._count += 1
        self.ctx.builder.emit(name, inputs, [result], options)
        return result

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Emit the mean over ``axes`` of the tensor, which stay with a size of 1."""
        along = self.ctx.builder.integers(sorted(axes), f"{self.ctx.name}/axes")
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self.emit("MEAN", [x, along], shape, {"keepDims": True})

    def _tensor(self, operand: Operand, dtype: np.dtype[Any]) -> Tensor:
        if isinstance(operand, Tensor):
            return operand
        name = "constant" if isinstance(operand, np.ndarray) else f"{operand:g}"
        return self.ctx.builder.constant(np.asarray(operand, dtype), f"{self.ctx.name}/{name}")


class Formula(Arithmetic):
    """Arithmetic on the first input of a node, ``x``, in float.

    In integer mode the input is dequantized first and the result quantized. XNNPACK replaces such a
    sequence with a table of 256 values if it knows each of the operators (ten at most) and each
    reads the result of the one before, once.
    """

    def __init__(self, ctx: NodeLowering) -> None:
        super().__init__(ctx)
        stored = ctx.stored(0)
        self._order = stored.order
        self.x = ctx.builder.to_float(stored.tensor) if ctx.integer else stored.tensor

    def finish(self, tensor: Tensor) -> None:
        """Make ``tensor`` the result of the node."""
        if self.ctx.integer:
            self.ctx.emit_stored("QUANTIZE", [tensor], tensor.shape, self._order)
        else:
            self.ctx.finish(tensor, self._order)


def emit_formula(ctx: NodeLowering, formula: Callable[[Formula], Tensor]) -> None:
    """Compute the node's result by ``formula``."""
    f = Formula(ctx)
    f.finish(formula(f))
