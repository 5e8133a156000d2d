"""Which elements of a value are zero whatever the input, as those that a Pad puts around it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.graph_edit import known_array
from edgeconv.export.traits import Trait, operators

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Functions of one element that are zero at zero, whatever their attributes.
_ZERO_AT_ZERO = frozenset(
    {"Abs", "Ceil", "Celu", "Elu", "Erf", "Floor", "Gelu", "HardSwish", "LeakyRelu", "Mish", "Neg"}
    | {"Relu", "Round", "Selu", "Sign", "Sin", "Softsign", "Sqrt", "Swish", "Tan", "Tanh"}
)
_MOVES = operators(Trait.MOVES)
_OF_BOTH = frozenset({"Add", "Max", "Min", "Sub", "Sum"})


class Zeros:
    """Finds the elements of values of a graph with static shapes; it reads each value once."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._found: dict[ir.Value, Mask] = {}

    def apart(self, values: list[ir.Value]) -> bool:
        """Whether at each place at most one of ``values`` of one shape may differ from zero."""
        masks = [self.may_differ(value) for value in values]
        if any(mask.all() for mask in masks) or len({mask.shape for mask in masks}) > 1:
            return False
        return bool((np.sum(masks, axis=0) <= 1).all())

    def may_differ(self, value: ir.Value) -> Mask:
        """For each element of ``value``, whether it may be other than zero."""
        pending = [value]  # no recursion: a chain of nodes may be thousands long
        while pending:
            last = pending[-1]
            if last in self._found:
                pending.pop()
            elif missing := [each for each in _read_for(last) if each not in self._found]:
                pending += missing
            else:
                self._found[last] = self._mask(last)
        return self._found[value]

    def written_over(self, scatter: ir.Node) -> Mask:
        """Where a ScatterElements or ScatterND with constant places writes to what is not zero."""
        data, places, written = scatter.inputs[:3]
        assert data is not None
        assert places is not None
        assert written is not None
        before, indices = self.may_differ(data), known_array(places)
        assert indices is not None
        assert written.shape is not None
        ones = np.ones(written.shape.numpy(), np.float32)
        after = self._run(scatter, [np.zeros(before.shape, np.float32), indices, ones])
        return before & after

    def _mask(self, value: ir.Value) -> Mask:
        array, node = known_array(value), value.producer()
        if array is not None:
            return np.asarray(array != 0)
        found = None if node is None or node.domain else self._of_node(node, value)
        shape = value.shape.numpy() if value.shape is not None else ()
        return np.ones(shape, np.bool_) if found is None or found.shape != shape else found

    def _of_node(self, node: ir.Node, value: ir.Value) -> Mask | None:
        """The mask of a result of ``node``; None where nothing is known."""
        inputs = [each for each in node.inputs if each is not None]
        if any(each.shape is None or not each.shape.is_static() for each in inputs):
            return None
        if len(node.outputs) > 1:
            return None
        if node.op_type in _OF_BOTH:
            return reduce(np.logical_or, [self.may_differ(each) for each in inputs])
        if node.op_type == "Mul":
            return np.logical_and(*(self.may_differ(each) for each in inputs))
        if node.op_type in _ZERO_AT_ZERO:
            return self.may_differ(inputs[0])
        if node.op_type in ("MatMul", "Gemm"):
            return self._of_product(node, value)
        if node.op_type == "Where":
            chosen = known_array(inputs[0])
            if chosen is None:
                return None
            return np.where(chosen, *(self.may_differ(each) for each in inputs[1:]))
        return self._moved(node) if node.op_type in _MOVES | {"Pad"} else None

    def _of_product(self, node: ir.Node, value: ir.Value) -> Mask | None:
        """Columns of constants that are zero all over give zeros."""
        second = node.inputs[1]
        weights = None if second is None else known_array(second)
        if weights is None or weights.ndim != 2 or (len(node.inputs) > 2 and node.inputs[2]):
            return None
        columns = (weights != 0).any(1 if node.attributes.get_int("transB", 0) else 0)
        assert value.shape is not None
        return np.broadcast_to(columns, value.shape.numpy())

    def _moved(self, node: ir.Node) -> Mask | None:
        """Move the mask as the elements are moved; what a Pad adds is zero if its value is."""
        count = len(node.inputs) if node.op_type == "Concat" else 1
        data = [self.may_differ(each).astype(np.float32) for each in node.inputs[:count] if each]
        if node.op_type != "Pad" and all(mask.all() for mask in data):
            return None
        others = [None if each is None else known_array(each) for each in node.inputs[count:]]
        if any(
            each and array is None for each, array in zip(node.inputs[count:], others, strict=True)
        ):
            return None
        return self._run(node, [*data, *others])

    def _run(self, node: ir.Node, inputs: Sequence[Array | None]) -> Mask:
        """Where the first result of ``node`` for ``inputs`` is not zero."""
        names = ["" if array is None else f"input_{index}" for index, array in enumerate(inputs)]
        proto = ir.to_proto(node)
        proto.input[:] = names
        arrays = zip(inputs, names, strict=True)
        held = [numpy_helper.from_array(array, name) for array, name in arrays if array is not None]
        found = helper.make_tensor_value_info(proto.output[0], onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph([proto], "moved", [], [found], held)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)])
        return np.asarray(next(iter(ReferenceEvaluator(model).run(None, {}))), np.bool_)


def _read_for(value: ir.Value) -> list[ir.Value]:
    """The values whose elements decide which of ``value`` are zero."""
    node = value.producer()
    if node is None or node.domain or known_array(value) is not None:
        return []
    if node.op_type not in _OF_BOTH | _ZERO_AT_ZERO | _MOVES | {"Mul", "Pad", "Where"}:
        return []
    return [each for each in node.inputs if each is not None]
