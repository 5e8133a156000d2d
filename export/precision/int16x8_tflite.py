"""An int8 TFLite graph becomes one with int16 activations.

The scales are those that ``widen`` of ``int16x8_onnx`` gives the ONNX graph: both follow from the
int8 ones by ``symmetric``. An operator without an int16 kernel runs in float between DEQUANTIZE
and QUANTIZE.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.precision.int16x8_onnx import INT16, LARGEST, symmetric
from edgeconv.export.tflite.builder import FLOAT, INT8, Constant
from edgeconv.export.tflite.graph import (
    Activation,
    Array,
    ChannelQuantization,
    Graph,
    Operator,
    Quantization,
    Tensor,
    WideQuantization,
)
from edgeconv.export.tflite.node_lowering import FUSING
from edgeconv.export.tflite.versions import INT16_VERSIONS

# Where an operator with int8 weights keeps its input, weight and bias.
_WEIGHTED = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}
_NON_NEGATIVE = {"RELU", "RELU6", "LOGISTIC", "SOFTMAX"}
# Nothing in their results is below all of their inputs.
_KEEPS_RANGE = {
    *("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT"),
    *("GATHER", "CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D", "MEAN", "PAD", "PADV2"),
    *("MAXIMUM", "MINIMUM", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "DEQUANTIZE"),
}
_LOWEST_INT8 = -128
# Into how many parts of an element the int16 kernel of RESIZE_BILINEAR divides positions.
_RESIZE_PARTS = 1024


def widen_graph(graph: Graph) -> tuple[str, ...]:
    """Give ``graph`` int16 activations, in place, and return what runs in float for that."""
    return _Widening(graph).run()


def widen_islands(graph: Graph) -> tuple[str, ...]:
    """Make int16 of what was lowered in its place, in an int8 graph, and return what is in float.

    Raises:
        UnsupportedOperator: The lowering of an operator has int8 activations of its own inside.
    """
    return _Islands(graph).run()


class _Widening:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._old: dict[int, Quantization] = {}
        self._tensors: dict[int, Tensor] = {}
        self._float: dict[int, Tensor] = {}
        self._done: list[Operator] = []
        self._left: Counter[tuple[str, str]] = Counter()

    def run(self) -> tuple[str, ...]:
        for tensor in self._graph.inputs:
            self._activation(tensor)
        for operator in self._graph.operators:
            if not any(_is_code(tensor) for tensor in (*operator.inputs, *operator.outputs)):
                self._done.append(operator)
            else:
                self._code(operator)
        self._graph.operators = self._done
        return self._left_in_float()

    def _left_in_float(self) -> tuple[str, ...]:
        return tuple(
            f"{count} {name}: {reason}" for (name, reason), count in sorted(self._left.items())
        )

    def _code(self, operator: Operator) -> None:
        reason = _reason_for_float(operator)
        if reason:
            self._left[operator.name, reason] += 1
            self._in_float(operator)
        else:
            self._integer(operator)

    def _activation(self, tensor: Tensor) -> Tensor:
        """``tensor`` in int16; a constant becomes another tensor."""
        if not _is_code(tensor) or id(tensor) in self._old:
            return self._tensors.get(id(tensor), tensor)
        old = tensor.quantization
        assert isinstance(old, Quantization)
        self._old[id(tensor)] = old
        if isinstance(old, WideQuantization):
            new = old.int16
        else:
            new = Quantization(symmetric(old.scale, old.zero_point), 0)
        if tensor.data is None:
            tensor.dtype, tensor.quantization = INT16, new
            self._tensors[id(tensor)] = tensor
        else:
            real = Constant(tensor.data, old).real() if tensor.exact is None else tensor.exact
            codes = np.rint(real / np.float32(new.scale)).clip(-LARGEST, LARGEST).astype(INT16)
            self._tensors[id(tensor)] = Tensor(tensor.name, tensor.shape, INT16, codes, new)
        return self._tensors[id(tensor)]

    def _integer(self, operator: Operator) -> None:
        inputs = list(operator.inputs)
        where = _WEIGHTED.get(operator.name)
        weight = inputs[where[1]] if where else None
        if where is not None and weight is not None and weight.data is not None:
            x, _, bias = where
            inputs[x] = self._activation(inputs[x])
            if len(inputs) > bias:
                inputs[bias] = _bias(inputs[bias], inputs[x], weight)
        else:
            lowest = operator.name == "PADV2" and _is_lowest(inputs[2])
            inputs = [self._activation(tensor) for tensor in inputs]
            if lowest:
                inputs[2].data = np.full(inputs[2].shape, -LARGEST, INT16)
        bounded = [self._is_bounded(operator, tensor) for tensor in operator.outputs]
        outputs = [self._activation(tensor) for tensor in operator.outputs]
        options = dict(operator.options)
        if operator.name in ("ADD", "SUB"):
            options["potScaleInt16"] = False
        if any(bounded) and operator.name in FUSING:
            options.setdefault("fusedActivationFunction", Activation.RELU)
            if options["fusedActivationFunction"] == Activation.NONE:
                options["fusedActivationFunction"] = Activation.RELU
            bounded = [False] * len(outputs)
        self._emit(replace(operator, inputs=inputs, outputs=outputs, options=options), bounded)

    def _emit(self, operator: Operator, bounded: list[bool]) -> None:
        """Add an operator, with a RELU behind each output that is ``bounded`` at zero."""
        outputs, behind = list(operator.outputs), []
        for position, tensor in enumerate(operator.outputs):
            if bounded[position]:
                outputs[position] = Tensor(
                    f"{tensor.name}/linear", tensor.shape, tensor.dtype, None, tensor.quantization
                )
                behind.append(Operator("RELU", [outputs[position]], [tensor]))
        self._done.append(replace(operator, outputs=outputs))
        self._done += behind

    def _is_bounded(self, operator: Operator, tensor: Tensor) -> bool:
        """Whether the int8 range of a result cut off what is below zero, unlike a symmetric one."""
        if not self._begins_at_zero(tensor) or operator.name in _NON_NEGATIVE:
            return False
        read = [item for item in operator.inputs if _is_code(item) or id(item) in self._old]
        return operator.name not in _KEEPS_RANGE or not all(map(self._begins_at_zero, read))

    def _begins_at_zero(self, tensor: Tensor) -> bool:
        """Whether the int8 range of ``tensor`` begins, or began, at zero."""
        quantization = self._old.get(id(tensor), tensor.quantization)
        known = _is_code(tensor) or id(tensor) in self._old
        return known and (
            isinstance(quantization, Quantization) and quantization.zero_point == _LOWEST_INT8
        )

    def _in_float(self, operator: Operator) -> None:
        inputs = [self._dequantized(tensor) for tensor in operator.inputs]
        outputs: list[Tensor] = []
        quantizes: list[tuple[Operator, bool]] = []
        for tensor in operator.outputs:
            if not _is_code(tensor):
                outputs.append(tensor)
                continue
            bounded = self._is_bounded(operator, tensor)
            result = self._activation(tensor)
            outputs.append(Tensor(f"{tensor.name}/float", tensor.shape, FLOAT))
            quantizes.append((Operator("QUANTIZE", [outputs[-1]], [result]), bounded))
        self._done.append(replace(operator, inputs=inputs, outputs=outputs))
        for quantize, bounded in quantizes:
            self._emit(quantize, [bounded])

    def _dequantized(self, tensor: Tensor) -> Tensor:
        if not _is_code(tensor) and id(tensor) not in self._old:
            return tensor
        if id(tensor) not in self._float:
            if tensor.data is not None and isinstance(tensor.quantization, Quantization):
                real = Constant(tensor.data, tensor.quantization).real()
                made = Tensor(tensor.name, tensor.shape, FLOAT, real)
            else:
                made = Tensor(f"{tensor.name}/float", tensor.shape, FLOAT)
                self._done.append(Operator("DEQUANTIZE", [self._activation(tensor)], [made]))
            self._float[id(tensor)] = made
        return self._float[id(tensor)]


class _Islands(_Widening):
    """Widens what is marked, and the constants beside it."""

    def run(self) -> tuple[str, ...]:
        for tensor in self._graph.inputs:
            if _is_marked(tensor):
                self._activation(tensor)
        for operator in self._graph.operators:
            tensors = (*operator.inputs, *operator.outputs)
            if not any(_is_marked(tensor) or id(tensor) in self._old for tensor in tensors):
                self._done.append(operator)
            elif operator.name in ("QUANTIZE", "DEQUANTIZE"):
                for tensor in tensors:
                    if _is_marked(tensor):
                        self._activation(tensor)
                self._done.append(operator)
            else:
                self._widened(operator, tensors)
        self._graph.operators = self._done
        return self._left_in_float()

    def _widened(self, operator: Operator, tensors: Sequence[Tensor]) -> None:
        if any(_is_code(each) and each.data is None and not _is_marked(each) for each in tensors):
            raise UnsupportedOperator(
                f"{operator.source}: TFLite computes a part of it in int8, not in int16",
                hint='state precision = "float32" for it in --layers',
            )
        self._code(operator)


def _reason_for_float(operator: Operator) -> str:
    """Why an operator cannot be in int16; empty if it can."""
    if operator.name not in INT16_VERSIONS:
        return "TFLite has no int16 kernel for it"
    if operator.name == "RESIZE_BILINEAR" and not _samples_exactly(operator):
        return "TFLite's int16 kernel places its samples too coarsely for these sizes"
    return ""


def _samples_exactly(resize: Operator) -> bool:
    """Whether the step from one sample to the next has no remainder in the kernel's parts.

    With the centers of pixels, half a step must have none either.
    """
    aligned = resize.options["alignCorners"]
    parts = _RESIZE_PARTS // (2 if resize.options["halfPixelCenters"] else 1)
    sizes = zip(resize.inputs[0].shape[1:3], resize.outputs[0].shape[1:3], strict=True)
    steps = [(a - 1, b - 1) if aligned and b > 1 else (a, b) for a, b in sizes]
    return all(parts * before % after == 0 for before, after in steps)


def _is_marked(tensor: Tensor) -> bool:
    return isinstance(tensor.quantization, WideQuantization) and tensor.data is None


def _is_code(tensor: Tensor) -> bool:
    """Whether ``tensor`` is an int8 activation, or a constant in the place of one."""
    return tensor.dtype == INT8 and isinstance(tensor.quantization, Quantization)


def _is_lowest(tensor: Tensor) -> bool:
    return tensor.data is not None and bool(np.all(tensor.data == _LOWEST_INT8))


def _bias(bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """An int64 bias in the scale that follows from the input's."""
    assert bias.data is not None
    assert isinstance(x.quantization, Quantization)
    real = bias.data.astype(np.float64) * _scales(bias)
    scales = (np.float32(x.quantization.scale) * _scales(weight)).astype(FLOAT)
    codes = np.rint(real / scales.astype(np.float64)).astype(np.int64)
    stated = (
        Quantization(float(scales[0]), 0) if scales.size == 1 else ChannelQuantization(scales, 0)
    )
    return Tensor(bias.name, bias.shape, codes.dtype, codes, stated)


def _scales(tensor: Tensor) -> Array:
    if isinstance(tensor.quantization, ChannelQuantization):
        return tensor.quantization.scales
    assert isinstance(tensor.quantization, Quantization)
    return np.array([tensor.quantization.scale], FLOAT)
