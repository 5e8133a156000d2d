"""The state of a lowering: the graph built so far, and what each ONNX value became."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.cut_places import part_before
from edgeconv.export.tflite.forms import USUAL, Forms
from edgeconv.export.tflite.graph import (
    STORED,
    Array,
    ChannelQuantization,
    Graph,
    Operator,
    Options,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.layout import Order, Perm, Shape, identity, moves, permuted
from edgeconv.export.tflite.scale_limits import check_requantization_ratio

INT8 = np.dtype("int8")
FLOAT = np.dtype("float32")
MOST_DIMENSIONS = 6
"""That XNNPACK takes. LiteRT 2.3 refuses a file whose MEAN or FULLY_CONNECTED reads seven."""

UNSIZED = {ir.DataType.UNDEFINED, ir.DataType.STRING}

ORIGIN = "edgeconv.origin"
"""Under this key a node of the lowering has the title of the model's node that it was written for,
where that is another."""

LARGEST = 2**31
"""Bytes that a value may not reach: no runtime could hold it, and no file could carry it."""


@dataclass(frozen=True)
class Stored:
    """An ONNX value in a tensor whose elements lie in ``order``.

    A float value may be held by an integer tensor with a quantization: it then stands for the
    real numbers that the codes mean, as after a DequantizeLinear.
    """

    tensor: Tensor
    order: Order

    @property
    def quantization(self) -> Quantization | None:
        """The scale and zero point of the tensor; None if it is a float tensor."""
        quantization = self.tensor.quantization
        return quantization if isinstance(quantization, Quantization) else None


@dataclass(frozen=True, eq=False)
class Constant:
    """An ONNX value that is known: its elements, or the codes for them, in the value's order.

    ``exact`` are the reals that codes were rounded from, where they are known.
    """

    array: Array
    quantization: Quantization | ChannelQuantization | None = None
    exact: Array | None = None

    def real(self) -> Array:
        """The elements, dequantized."""
        if self.quantization is None:
            return self.array
        if isinstance(self.quantization, Quantization):
            scale, zero = np.float32(self.quantization.scale), self.quantization.zero_point
            shifted: Array = self.array.astype(np.int32) - zero
            return np.asarray(shifted * scale, FLOAT)
        along = [1] * self.array.ndim
        along[self.quantization.axis] = -1
        scales: Array = self.quantization.scales.reshape(along)
        return np.asarray(self.array * scales, FLOAT)

    def transposed(self, perm: Perm) -> Constant:
        """Transpose the elements, and the axis of a per-channel scale with them."""
        quantization = self.quantization
        if isinstance(quantization, ChannelQuantization):
            quantization = ChannelQuantization(
                quantization.scales, perm.index(quantization.axis % self.array.ndim)
            )
        exact = None if self.exact is None else self.exact.transpose(perm)
        return Constant(self.array.transpose(perm), quantization, exact)


class Builder:
    """Adds operators to a graph, and moves or converts a tensor at most once each way.

    ``forms`` are those of int8 operators that are not the usual ones.
    """

    def __init__(self, forms: Forms = USUAL) -> None:
        self.graph = Graph()
        self.forms = forms
        self._held: dict[ir.Value, Stored | Constant] = {}
        self._made: dict[Hashable, Tensor] = {}

    def bind(self, value: ir.Value, held: Stored | Constant) -> None:
        """Record what ``value`` became."""
        self._held[value] = held

    def held(self, value: ir.Value) -> Stored | Constant:
        """What ``value`` became."""
        known = self.known(value)
        if known is not None:
            return known
        if value not in self._held:
            raise UnsupportedOperator(
                f"value {value.name} is used before any node computes it",
                hint="check the model with onnx.checker",
            )
        return self._held[value]

    def __contains__(self, value: ir.Value) -> bool:
        return value in self._held

    def known(self, value: ir.Value) -> Constant | None:
        """``value`` where it is constant."""
        held = self._held.get(value)
        if held is None and value.const_value is not None and not value.is_graph_input():
            held = self._held[value] = Constant(value.const_value.numpy())
        return held if isinstance(held, Constant) else None

    def emit(
        self,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        options: Options | None = None,
    ) -> None:
        """Add an operator.

        Raises:
            NoIntegerForm: its result has a scale that its integer kernel cannot compute.
        """
        check_requantization_ratio(name, inputs, outputs[0])
        options = options or {}
        if name == "FULLY_CONNECTED" and inputs[0].shape[:-1] == outputs[0].shape[:-1]:
            # The dimensions are kept either way. Where that is stated, XNNPACK need not work it out
            # in every inference: about a hundred Arm instructions.
            options = {**options, "keepNumDims": True}
        self.graph.operators.append(Operator(name, inputs, outputs, options))

    def constant(
        self,
        array: Array,
        name: str,
        quantization: Quantization | ChannelQuantization | None = None,
        exact: Array | None = None,
    ) -> Tensor:
        """Make a constant tensor of ``array``."""
        return Tensor(name, array.shape, array.dtype, array, quantization, exact)

    def integers(self, values: Sequence[int] | Array, name: str) -> Tensor:
        """An int32 constant: axes, shapes and the like."""
        return self.constant(np.asarray(values, np.int32), name)

    def reshape(self, tensor: Tensor, shape: Shape) -> Tensor:
        """Emit RESHAPE, unless the tensor is constant or has the shape already."""
        if tensor.shape == shape:
            return tensor
        if tensor.data is not None:
            return replace(tensor, shape=shape)
        key = ("reshape", id(tensor), shape)
        if key not in self._made:
            made = Tensor(f"{tensor.name}/reshape", shape, tensor.dtype, None, tensor.quantization)
            to = self.integers(shape, f"{made.name}/shape")
            self.emit("RESHAPE", [tensor, to], [made], {"newShape": shape})
            self._made[key] = made
        return self._made[key]

    def transpose(self, tensor: Tensor, perm: Perm) -> Tensor:
        """Emit TRANSPOSE; a constant is transposed at export."""
        if perm == identity(len(perm)):
            return tensor
        if tensor.elements is not None:
            exact = None
            if tensor.exact is not None:
                exact = tensor.exact.reshape(tensor.shape).transpose(perm)
            moved = tensor.elements.transpose(perm)
            return self.constant(moved, tensor.name, tensor.quantization, exact)
        key = ("transpose", id(tensor), perm)
        if key not in self._made:
            shape = permuted(tensor.shape, perm)
            made = Tensor(
                f"{tensor.name}/transpose", shape, tensor.dtype, None, tensor.quantization
            )
            self.emit("TRANSPOSE", [tensor, self.integers(perm, f"{made.name}/perm")], [made])
            self._made[key] = made
        return self._made[key]

    def dequantize(self, tensor: Tensor) -> Tensor:
        """Emit DEQUANTIZE, once for all readers of the result."""
        key = ("dequantize", id(tensor))
        if key not in self._made:
            made = Tensor(f"{tensor.name}/float", tensor.shape, FLOAT)
            self.emit("DEQUANTIZE", [tensor], [made])
            self._made[key] = made
        return self._made[key]

    def quantize(self, tensor: Tensor, to: Quantization, dtype: np.dtype[Any] = INT8) -> Tensor:
        """Quantize a float tensor, or convert a quantized one to another scale or type.

        The latter is DEQUANTIZE and QUANTIZE, which XNNPACK replaces with a table (28x28x128 on a
        Cortex-A72, millions of instructions: 0.06, MUL by one 0.21, a single QUANTIZE 0.08, which
        rounds the ratio of the scales to eight bits and so moves up to one value in 25).
        """
        if tensor.quantization == to and tensor.dtype == dtype:
            return tensor
        if tensor.elements is not None and isinstance(tensor.quantization, Quantization):
            real = Constant(tensor.elements, tensor.quantization).real()
            exact = real if tensor.exact is None else tensor.exact.reshape(tensor.shape)
            return self.constant(codes(real, to, dtype), tensor.name, to, exact)
        key = ("quantize", id(tensor), to, dtype)
        if key not in self._made:
            made = Tensor(f"{tensor.name}/{dtype}", tensor.shape, dtype, None, to)
            source = self.to_float(tensor) if tensor.dtype == dtype == INT8 else tensor
            self.emit("QUANTIZE", [source], [made])
            self._made[key] = made
        return self._made[key]

    def to_float(self, tensor: Tensor) -> Tensor:
        """Emit a DEQUANTIZE for one reader.

        XNNPACK makes tables only of sequences in which nothing else reads the intermediate results.
        """
        made = Tensor(f"{tensor.name}/real", tensor.shape, FLOAT)
        self.emit("DEQUANTIZE", [tensor], [made])
        return made

    def cast(self, tensor: Tensor, dtype: np.dtype[Any]) -> Tensor:
        """The elements as numbers of ``dtype``."""
        made = Tensor(f"{tensor.name}/{dtype}", tensor.shape, dtype)
        options: Options = {"inDataType": STORED[tensor.dtype], "outDataType": STORED[dtype]}
        self.emit("CAST", [tensor], [made], options)
        return made

    def arranged(self, stored: Stored, order: Order, shape: Shape) -> Tensor:
        """The elements of ``stored`` in ``order``, in a tensor of ``shape``."""
        tensor = stored.tensor
        for move in moves(stored.order, order, tensor.shape, shape):
            tensor = self.transpose(self.reshape(tensor, move.shape), move.perm)
        return self.reshape(tensor, shape)

    def placed(self, stored: Stored, shape: Shape, perm: Perm) -> Tensor:
        """The tensor ``value.transpose(perm)`` of a value of ``shape`` that is ``stored``."""
        return self.arranged(stored, Order.of(shape, perm), permuted(shape, perm))


def codes(real: Array, quantization: Quantization, dtype: np.dtype[Any] = INT8) -> Array:
    """Quantize an array: round half to even, saturate, as QuantizeLinear does."""
    limits = np.iinfo(dtype)
    rounded = np.rint(real / np.float32(quantization.scale)) + quantization.zero_point
    clipped: Array = np.clip(rounded, limits.min, limits.max).astype(dtype)
    return clipped


def title(node: ir.Node) -> str:
    """A node as messages name it: its name, or that of its result, and its operator."""
    return f"{node.name or node.outputs[0].name} ({node.op_type})"


def origin(node: ir.Node) -> str:
    """The title of the node that ``node`` was written for, or its own."""
    return node.meta.get(ORIGIN) or title(node)


def static_shape(value: ir.Value) -> Shape:
    """The shape of ``value``.

    Raises:
        UnsupportedOperator: it is not known before the network runs.
    """
    if value.shape is None:
        raise UnsupportedOperator(
            f"{_origin_of(value)} has no shape",
            hint="run onnx.shape_inference on the model first",
        )
    if not value.shape.is_static():
        node = value.producer()
        depends = "leave out what it depends on" if node is None else part_before(node)
        raise UnsupportedOperator(
            f"{_origin_of(value)} has the dynamic shape {value.shape}",
            hint="export with fixed shapes, which a TFLite file needs; where the shape depends on "
            f"the data, {depends}, or pass only --format onnx",
        )
    shape = value.shape.numpy()
    demand_room(value.name, shape, itemsize(value))
    return shape


def _origin_of(value: ir.Value) -> str:
    node = value.producer()
    return f"value {value.name}" if node is None else f"{title(node)}: its result {value.name}"


def itemsize(value: ir.Value) -> float:
    """Bytes of an element; a guess where the type has no size."""
    if value.dtype is None or value.dtype in UNSIZED:
        return 8
    return value.dtype.itemsize


def demand_room(name: str | None, shape: Sequence[int], element: float) -> None:
    """Refuse a value that reaches LARGEST, before anything allocates it.

    Args:
        name: The value's name, for the message.
        shape: Its shape.
        element: The size of an element in bytes.

    Raises:
        UnsupportedOperator: The value has LARGEST bytes or more.
    """
    if prod(shape) * element >= LARGEST:
        raise UnsupportedOperator(
            f"value {name} of shape {list(shape)} has 2 GiB or more",
            hint="make it smaller",
        )
