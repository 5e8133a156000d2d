"""A float32 ONNX graph becomes one with int8 weights that quantizes activations while it runs.

Weights are symmetric int8 with a scale for each output channel, as in full-integer quantization.
An activation is quantized by the range that it has in that very inference (DynamicQuantizeLinear),
the products are summed in int32 (ConvInteger, MatMulInteger) and turned back into float at once.
No calibration data is needed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.errors import UsageError
from edgeconv.export.graph_edit import GraphEditor, describe
from edgeconv.export.passes.steps import Step, broken, run
from edgeconv.export.precision.int8_weights import int8_weights
from edgeconv.export.traits import Trait, operators

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class DynamicModel:
    """A graph with int8 weights.

    Attributes:
        weights: the names of the float weights that are integers in it.
        float_fallback: what keeps float weights, and why.
    """

    model: ir.Model
    weights: frozenset[str]
    float_fallback: tuple[str, ...]


def quantize_dynamically(model: ir.Model) -> DynamicModel:
    """Quantize the weights of a copy of a float graph.

    Raises:
        UsageError: no operator of the network can have int8 weights.
    """
    quantization = QuantizeDynamically()
    steps = [
        Step(quantization, "first: it reads the float weights"),
        Step(common.RemoveUnusedNodesPass(), "after it: nothing reads those float weights now"),
    ]
    model = run(model.clone(), steps)
    return DynamicModel(model, frozenset(quantization.weights), quantization.float_fallback)


class QuantizeDynamically(ir.passes.InPlacePass):
    """Gives each layer int8 weights where ONNX has an integer form of it.

    Attributes:
        weights: the names of the float weights that became integers.
        float_fallback: what keeps float weights, and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: set[str] = set()
        self.float_fallback: tuple[str, ...] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Quantize the layers.

        Raises:
            UsageError: no operator of the network can have int8 weights.
        """
        rewriter = _Rewriter(model.graph)
        left: dict[str, list[str]] = defaultdict(list)
        for node in list(model.graph):
            if not _has_weights(node):
                continue
            reason = _reason_for_float(node)
            if reason:
                left[reason].append(f"{node.name} ({node.op_type})")
            else:
                rewriter.rewrite(node)
        self.weights = rewriter.weights
        self.float_fallback = tuple(_describe(names, reason) for reason, names in left.items())
        if not rewriter.weights:
            raise UsageError(
                "the network has no convolution or matrix product that int8-dynamic covers",
                hint="use --precision float16",
            )
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that every layer with float weights has a reason for them."""
        for node in model.graph:
            if _has_weights(node) and not _reason_for_float(node):
                raise broken(self, f"{node.name} ({node.op_type}) keeps float weights")


def _has_weights(node: ir.Node) -> bool:
    return node.op_type in _WEIGHTED | _RECURRENT and node.domain == ""


def _describe(names: list[str], reason: str) -> str:
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{others}: {reason}"


def channel_axis(node: ir.Node) -> int:
    """The dimension of the output channels in a node's weight."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return {"Conv": 0, "MatMul": 1}[node.op_type]


_WEIGHTED = operators(Trait.WEIGHTED)
_RECURRENT = operators(Trait.RECURRENT)


def _reason_for_float(node: ir.Node) -> str:
    """Why ``node`` keeps float weights; empty if it does not."""
    if node.op_type in _RECURRENT:
        return "a recurrent cell, whose steps are written out in float"
    weight = node.inputs[1]
    assert weight is not None
    if weight.const_value is None:
        return "its second operand is computed by the network"
    shape = weight.const_value.shape.numpy()
    if node.op_type == "ConvTranspose":
        return "ONNX has no integer form of it"
    if node.op_type == "Conv" and node.attributes.get_int("group", 1) != 1:
        return "grouped: it has few weights, and the runtimes have no fast kernel for them in int8"
    if node.op_type == "Conv" and len(shape) > 4:
        return "TFLite has no kernel for it with int8 weights"
    if node.op_type == "MatMul" and len(shape) != 2:
        return "its second operand is not a matrix"
    if node.op_type == "Gemm" and not _is_plain(node):
        return "it transposes its input, scales it, or adds no row"
    return ""


def _is_plain(node: ir.Node) -> bool:
    attributes = node.attributes
    factors = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    row = bias is None or (bias.const_value is not None and len(bias.const_value.shape) == 1)
    return factors == (1.0, 1.0) and not attributes.get_int("transA", 0) and row


class _Rewriter:
    def __init__(self, graph: ir.Graph) -> None:
        self._editor = GraphEditor(graph)
        self.weights: set[str] = set()
        self._dynamic: dict[ir.Value, ir.Node] = {}
        self._stored: dict[tuple[str, int], tuple[ir.Value, ir.Value, ir.Value]] = {}

    def rewrite(self, node: ir.Node) -> None:
        """Put the integer form of ``node`` in its place."""
        graph, free_name = self._editor.graph, self._editor.free_name
        x, weight = node.inputs[0], node.inputs[1]
        assert x is not None
        assert weight is not None
        result, name = node.outputs[0], str(node.outputs[0].name)
        convolves = node.op_type == "Conv"
        nodes = [] if x in self._dynamic else [self._quantizer(x)]
        codes, scale, zero = self._weight(node, weight, convolves)
        quantized, x_scale, x_zero = self._dynamic[x].outputs
        product = ir.node(
            "ConvInteger" if convolves else "MatMulInteger",
            [quantized, codes, x_zero, zero],
            attributes=node.attributes if convolves else {},
            name=f"{node.name}_integer",
        )
        cast = ir.node("Cast", product.outputs, attributes={"to": ir.DataType.FLOAT.value})
        scales = ir.node("Mul", [x_scale, scale])
        scaled = ir.node("Mul", [cast.outputs[0], scales.outputs[0]])
        nodes += [product, cast, scales, scaled]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None:
            nodes.append(ir.node("Add", [scaled.outputs[0], self._bias(bias, scale, name)]))
        describe(product.outputs[0], result, dtype=ir.DataType.INT32)
        for position, step in enumerate((cast, scaled, nodes[-1])):
            describe(step.outputs[0], result)
            step.name = free_name(f"{name}_{('sum', 'scaled', 'biased')[position]}")
            step.outputs[0].name = step.name
        describe(scales.outputs[0], scale)
        product.outputs[0].name = free_name(f"{name}_integers")
        scales.name = scales.outputs[0].name = free_name(f"{name}_scales")
        graph.insert_before(node, nodes)
        final = nodes[-1].outputs[0]
        final.name = free_name(f"{name}_new")
        result.replace_all_uses_with(final, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        final.name = name

    def _quantizer(self, x: ir.Value) -> ir.Node:
        node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}_dynamic")
        for value, suffix, dtype in zip(
            node.outputs,
            ("quantized", "scale", "zero_point"),
            (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8),
            strict=True,
        ):
            value.name = self._editor.free_name(f"{x.name}_dynamic_{suffix}")
            describe(value, x, shape=None if suffix == "quantized" else (), dtype=dtype)
        self._dynamic[x] = node
        return node

    def _weight(
        self, node: ir.Node, weight: ir.Value, convolves: bool
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Return the integers, the scales in the shape that multiplies the result, and zero point.

        Older releases of ONNX Runtime have ConvInteger for uint8 weights only: the same
        integers, shifted by 128.
        """
        assert weight.const_value is not None
        axis = channel_axis(node)
        name = str(weight.name)
        if (name, axis) not in self._stored:
            array = weight.const_value.numpy()
            parameters = int8_weights(array, axis)
            codes: Array = parameters.quantize(array)
            if convolves:
                codes = (codes.astype(np.int16) + 128).astype(np.uint8)
            elif axis == 0:
                codes = codes.T
            scale = parameters.scale.reshape(-1, *[1] * (array.ndim - 2 if convolves else 0))
            zero_point = np.array([128], np.uint8) if convolves else np.array([0], np.int8)
            self._stored[name, axis] = (
                self._editor.constant(f"{name}_quantized", codes),
                self._editor.constant(f"{name}_scale", scale),
                self._editor.constant(f"{name}_zero_point", zero_point),
            )
            self.weights.add(name)
        return self._stored[name, axis]

    def _bias(self, bias: ir.Value, scale: ir.Value, name: str) -> ir.Value:
        """The bias in the shape of the scales."""
        assert bias.const_value is not None
        assert scale.const_value is not None
        array = bias.const_value.numpy()
        if array.size == 1:
            return bias
        row = array.reshape(scale.const_value.shape.numpy())
        return self._editor.constant(f"{name}_bias", row)
