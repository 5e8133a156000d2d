"""The context of a lowering function: one ONNX node, its inputs as tensors, and its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite.builder import (
    FLOAT,
    INT8,
    Builder,
    Constant,
    Stored,
    static_shape,
    title,
)
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.fusion import Fusion
from edgeconv.export.tflite.graph import (
    Activation,
    Array,
    ChannelQuantization,
    NoIntegerForm,
    Options,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.layout import Order, Perm, Shape, identity, permuted

BYTES = {ir.DataType.INT8, ir.DataType.UINT8}

FUSING = {
    *("ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D"),
    *("FULLY_CONNECTED", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION"),
}
"""Operators that apply an activation themselves (TRANSPOSE_CONV does so only since version 4)."""


class NodeLowering:
    """A node in one of two modes.

    In float mode every input comes as a float tensor. In integer mode every input comes as an
    int8 tensor, and ``wanted`` is the quantization of the result.
    """

    def __init__(
        self,
        builder: Builder,
        node: ir.Node,
        *,
        integer: bool,
        wanted: Quantization | None,
        fusion: Fusion,
    ) -> None:
        self.builder = builder
        self.node = node
        self.attributes = node.attributes
        self.integer = integer
        self._wanted = wanted
        self._fusion = fusion
        self.emitted = False

    # The node

    @property
    def name(self) -> str:
        """The node's name, or that of its result."""
        return self.node.name or self.result.name or self.node.op_type

    @property
    def label(self) -> str:
        """The name of the node and of the activation that it absorbs, as TensorFlow joins them."""
        last = self._fusion.result.producer()
        absorbed = self.name if last is None else last.name or self.name
        return ";".join(dict.fromkeys((self.name, absorbed)))

    @property
    def result(self) -> ir.Value:
        """The first output."""
        return self.node.outputs[0]

    @property
    def wanted(self) -> Quantization:
        """The quantization of the result, in integer mode."""
        assert self._wanted is not None
        return self._wanted

    def unsupported(self, what: str, remedy: str) -> UnsupportedOperator:
        """Make the error that says why this node cannot be lowered, and what to do."""
        return UnsupportedOperator(f"{title(self.node)}: {what}", hint=remedy)

    # Inputs

    def has(self, index: int) -> bool:
        """Return whether an input is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def takes(self, form: Form) -> bool:
        """Whether the node is written in ``form``; in float it never is."""
        return self.integer and form in self.builder.forms

    def value(self, index: int) -> ir.Value:
        """Return an input that the operator demands.

        Raises:
            UnsupportedOperator: It is left out.
        """
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            raise self.unsupported(f"input {index} is missing", "check the model with onnx.checker")
        return value

    def shape(self, index: int) -> Shape:
        """The ONNX shape of an input."""
        return static_shape(self.value(index))

    @property
    def result_shape(self) -> Shape:
        """The ONNX shape of the first output."""
        return static_shape(self.result)

    def held(self, index: int) -> Stored | Constant:
        """Look up what an input became: a tensor or a constant."""
        return self.builder.held(self.value(index))

    def constant(self, index: int) -> Array | None:
        """The elements of an input that is known, dequantized; None where it is not known."""
        held = self.held(index)
        return held.real() if isinstance(held, Constant) else None

    def demand_constant(self, index: int, what: str) -> Array:
        """Return the elements of an input that has to be constant, dequantized.

        Args:
            index: The input.
            what: Its name in the message.

        Raises:
            UnsupportedOperator: The network computes it.
        """
        array = self.constant(index)
        if array is None:
            raise self.unsupported(
                f"its {what} is computed by the network", f"make the {what} constant"
            )
        return array

    def stored(self, index: int) -> Stored:
        """An input in the type of the mode, wherever its elements lie."""
        held = self.held(index)
        if isinstance(held, Constant) and not held.array.size:
            raise self.unsupported(
                f"its input {self.value(index).name} has no elements", "take it out of the network"
            )
        if self.value(index).dtype not in (None, ir.DataType.FLOAT) and not self._is_code(index):
            if self.value(index).dtype in BYTES and self.node.op_type != "Cast":
                raise self.unsupported(
                    f"the bytes of {self.value(index).name} have no scale here",
                    "put DequantizeLinear in front",
                )
            return self.raw(index)
        if isinstance(held, Constant):
            known = self._codes(index, held) if self.integer else Constant(held.real())
            name = self.value(index).name or self.name
            tensor = self.builder.constant(known.array, name, known.quantization, known.exact)
            return Stored(tensor, Order.of(tensor.shape, identity(len(tensor.shape))))
        if held.quantization is None or self.integer:
            return held
        return Stored(self.builder.dequantize(held.tensor), held.order)

    def raw(self, index: int) -> Stored:
        """An input as it is held, whatever its type: indices, conditions."""
        held = self.held(index)
        if isinstance(held, Stored):
            return held
        tensor = self.builder.constant(held.array, self.value(index).name or self.name)
        return Stored(tensor, Order.of(tensor.shape, identity(len(tensor.shape))))

    def _is_code(self, index: int) -> bool:
        held = self.held(index)
        return isinstance(held, Stored) and held.quantization is not None

    def _codes(self, index: int, known: Constant) -> Constant:
        """A constant operand as int8 codes: its own, or exact ones for a single number."""
        if isinstance(known.quantization, Quantization) and known.array.dtype == INT8:
            return known
        real = known.real()
        if real.size and np.all(real == real.flat[0]):
            return Constant(*single_code(real))
        raise NoIntegerForm(f"its constant input {self.value(index).name} is not quantized")

    def tensor(self, index: int, perm: Perm | None = None) -> Tensor:
        """An input in the type of the mode, transposed by ``perm`` (default: as ONNX has it)."""
        shape = self.shape(index)
        return self.builder.placed(self.stored(index), shape, perm or identity(len(shape)))

    def refuse_integer(self, reason: str) -> None:
        """Leave integer mode, if the node is in it, for ``reason``."""
        if self.integer:
            raise NoIntegerForm(reason)

    def own_perm(self, index: int = 0) -> Perm:
        """The order of axes in which an input is stored, or the nearest one."""
        return self.stored(index).order.nearest_perm(self.shape(index))

    # Results

    def fresh(
        self,
        suffix: str,
        shape: Shape,
        quantization: Quantization | ChannelQuantization | None = None,
    ) -> Tensor:
        """An intermediate tensor of the mode's type."""
        name = f"{self.name}/{suffix}"
        return Tensor(name, shape, INT8 if self.integer else FLOAT, None, quantization)

    def emit(
        self,
        operator: str,
        inputs: Sequence[Tensor],
        perm: Perm | None = None,
        options: Options | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        """Emit the operator that computes the node's result, transposed by ``perm``."""
        shape = self.result_shape
        perm = perm or identity(len(shape))
        place = permuted(shape, perm), Order.of(shape, perm)
        self.emit_stored(operator, inputs, *place, options, quantization)

    def emit_stored(
        self,
        operator: str,
        inputs: Sequence[Tensor],
        shape: Shape,
        order: Order,
        options: Options | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        """Emit the operator that computes the node's result in a tensor of ``shape``.

        Args:
            operator: The operator's name in the schema.
            inputs: Its operands.
            shape: The shape of the tensor.
            order: The order in which it holds the elements of the result.
            options: The operator's options.
            quantization: The result's quantization in integer mode, if it is not the wanted one.
        """
        result = self._fusion.result
        tensor = Tensor(self.label, shape, self.dtype)
        if self.integer:
            tensor.dtype, tensor.quantization = INT8, quantization or self.wanted
        fused = self._fusion.activation
        if fused is Activation.NONE:
            self.builder.emit(operator, inputs, [tensor], options)
        elif operator in FUSING:
            fusing = {**(options or {}), "fusedActivationFunction": fused}
            self.builder.emit(operator, inputs, [tensor], fusing)
        else:
            before = self.fresh("linear", shape, tensor.quantization)
            self.builder.emit(operator, inputs, [before], options)
            self.builder.emit(fused.name, [before], [tensor])
        self.emitted = True
        self.builder.bind(result, Stored(tensor, order))

    def output(self, index: int, perm: Perm) -> Tensor:
        """A tensor for result ``index`` of an operator with several, transposed by ``perm``."""
        value = self.node.outputs[index]
        shape = static_shape(value)
        dtype = FLOAT if value.dtype is None else value.dtype.numpy()
        tensor = Tensor(value.name or f"{self.name}/{index}", permuted(shape, perm), dtype)
        if self.integer and dtype == FLOAT:
            tensor.dtype, tensor.quantization = INT8, self.wanted
        self.emitted = True
        self.builder.bind(value, Stored(tensor, Order.of(shape, perm)))
        return tensor

    def finish(self, tensor: Tensor, order: Order) -> None:
        """The result is ``tensor``, which an operator of this node computes."""
        tensor.name = self.label
        self.emitted = True
        self.builder.bind(self.result, Stored(tensor, order))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type of the result outside integer mode."""
        dtype = self.result.dtype
        return FLOAT if dtype is None else dtype.numpy()

    def same(self, index: int) -> None:
        """The result is input ``index``, its elements where they are."""
        self.builder.bind(self.result, self.held(index))


def single_code(array: Array) -> tuple[Array, Quantization]:
    """Codes and quantization of an array of one number, exact but for float rounding."""
    number = float(array.flat[0])
    codes = np.full(array.shape, np.sign(number) * 127, INT8)
    return codes, Quantization(float(np.float32(abs(number) / 127)) or 1.0, 0)
