"""Operators that only ONNX Runtime has, and quantized ones of the standard, in other words.

ONNX Runtime's optimizer fuses operators into those of the domain com.microsoft, and its quantizer
writes a quantized operator as one node (QLinearConv) in place of the float operator between
DequantizeLinear and QuantizeLinear, which everything else here reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import numpy as np
import onnx_ir as ir

from edgeconv.export.capture.dynamic_quantization import FLOAT_NETWORK, dynamic_source
from edgeconv.export.capture.runtime_attention import ATTENTION
from edgeconv.export.capture.written_node import Write, Writer
from edgeconv.export.graph_edit import Array, GraphEditor, known_array

DOMAIN = "com.microsoft"
_DOMAINS = ("", DOMAIN)


# Quantized operators


def _conv(w: Writer) -> Sequence[ir.Value]:
    operands = [w.real(0), w.real(3, axis=0)]
    if w.has(8):
        operands.append(w.bias(8))
    return [w.codes(w.op.Conv(*operands, **w.kept()), 6)]


def _matmul(w: Writer) -> Sequence[ir.Value]:
    return [w.codes(w.op.MatMul(w.real(0), w.real(3, axis=-1)), 6)]


def _gemm(w: Writer) -> Sequence[ir.Value]:
    operands = [w.real(0), w.real(3, axis=0 if w.flag("transB") else 1)]
    if w.has(6):
        operands.append(w.bias(6, w.number("alpha", 1.0)))
    result = w.op.Gemm(*operands, **w.kept())
    return [w.codes(result, 7) if w.has(7) else result]


def _binary(name: str) -> Write:
    return lambda w: [w.codes(getattr(w.op, name)(w.real(0), w.real(3)), 6)]


def _unary(name: str) -> Write:
    def write(w: Writer) -> Sequence[ir.Value]:
        if w.flag("channels_last"):
            raise w.refused("its channels are last", "quantize for CPUs, where they are first")
        return [w.codes(getattr(w.op, name)(w.real(0), **w.kept("channels_last")), 3)]

    return write


def _softmax(w: Writer) -> Sequence[ir.Value]:
    axis = w.node.attributes.get_int("axis", -1)
    summed = w.node.attributes.get_int("opset", 13) < 13  # over all axes from this one on
    if summed and axis != -1 and axis + 1 != w.rank(w.input(0)):
        raise w.refused("it is over several dimensions", "quantize a file of opset 13 or later")
    return [w.codes(w.op.Softmax(w.real(0), axis=axis), 3)]


def _concat(w: Writer) -> Sequence[ir.Value]:
    parts = [w.real(first) for first in range(2, len(w.node.inputs), 3)]
    return [w.codes(w.op.Concat(*parts, **w.kept()), 0)]


def _weight(w: Writer, codes: int, scale: int, zero: int, *, by_direction: bool = False) -> Array:
    """The reals that constant integers mean.

    Args:
        w: The node.
        codes: The index of the integers.
        scale: The index of their scale, which broadcasts against them.
        zero: The index of their zero point.
        by_direction: Whether scale and zero point are [directions] or [directions, gates], and the
            integers [directions, inputs, gates].
    """
    arrays = []
    for index in (codes, scale, zero):
        value = w.optional(index)
        known = np.zeros((), np.int32) if value is None else known_array(value)
        if known is None:
            raise w.refused(f"its input {index} is computed by the network", FLOAT_NETWORK)
        arrays.append(known)
    if by_direction:
        arrays[1:] = [each.reshape(len(arrays[0]), 1, -1) for each in arrays[1:]]
    centered = arrays[0].astype(np.int32) - arrays[2].astype(np.int32)
    return np.asarray(centered.astype(np.float32) * arrays[1], np.float32)


def _with_bias(w: Writer, value: ir.Value, index: int) -> ir.Value:
    return w.op.Add(value, w.input(index)) if w.has(index) else value


def _dynamic_matmul(w: Writer) -> Sequence[ir.Value]:
    source = dynamic_source(w.input(1))
    if source is not None and source.inputs[0] is not None:
        right = source.inputs[0]
    else:
        right = w.constant(_weight(w, 1, 2, 3))
    return [_with_bias(w, w.op.MatMul(w.input(0), right), 4)]


def _scaled_matmul(w: Writer) -> Sequence[ir.Value]:
    operands = []
    for index in (0, 1):  # codes, then scales, then zero points, of one operand after the other
        source = dynamic_source(w.input(index))
        if source is not None and source.inputs[0] is not None:
            operands.append(source.inputs[0])
        elif index == 1:
            operands.append(w.constant(_weight(w, 1, 3, 5)))
        else:
            given = (w.optional(each) for each in (0, 2, 4))
            operands.append(w.op.DequantizeLinear(*(each for each in given if each is not None)))
    return [_with_bias(w, w.op.MatMul(*operands), 6)]


def _dynamic_lstm(w: Writer) -> Sequence[ir.Value]:
    weights = [_weight(w, *each, by_direction=True) for each in ((1, 8, 9), (2, 10, 11))]
    turned = [w.constant(each.transpose(0, 2, 1)) for each in weights]
    others = [w.optional(index) for index in range(3, 8)]
    while others and others[-1] is None:
        others.pop()
    node = ir.node("LSTM", [w.input(0), *turned, *others], w.kept(), num_outputs=3)
    w.op.nodes.append(node)
    return node.outputs


# Fused operators

_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh"), ()),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Clip": (),
}


def _activated(w: Writer, x: ir.Value, name: str, numbers: Sequence[float]) -> ir.Value:
    if not name:
        return x
    if name not in _ACTIVATIONS:
        raise w.refused(f"its activation is {name}", "save the file without optimization")
    if name == "Clip":
        return w.op.Clip(x, *(w.constant(number) for number in numbers))
    apply: Callable[..., ir.Value] = getattr(w.op, name)
    return apply(x, **dict(zip(_ACTIVATIONS[name], numbers, strict=False)))


def _fused_conv(w: Writer) -> Sequence[ir.Value]:
    operands = [value for index in range(3) if (value := w.optional(index)) is not None]
    result = w.op.Conv(*operands, **w.kept("activation", "activation_params"))
    if w.has(3):
        result = w.op.Add(result, w.input(3))
    numbers = w.node.attributes.get_floats("activation_params", ())
    return [_activated(w, result, w.node.attributes.get_string("activation", ""), numbers)]


def _fused_gemm(w: Writer) -> Sequence[ir.Value]:
    fusion = ("activation", *(f"activation_{name}" for name in ("alpha", "beta", "gamma")))
    operands = [value for index in range(3) if (value := w.optional(index)) is not None]
    result = w.op.Gemm(*operands, **w.kept(*fusion))
    numbers = [w.number(name, 0.0) for name in fusion[1:3] if name in w.node.attributes]
    return [_activated(w, result, w.node.attributes.get_string("activation", ""), numbers)]


def _fused_matmul(w: Writer) -> Sequence[ir.Value]:
    if w.flag("transBatchA") or w.flag("transBatchB"):
        raise w.refused("it transposes batches", "save the file without optimization")
    sides = [_transposed(w, w.input(index), w.flag(f"trans{'AB'[index]}")) for index in (0, 1)]
    product, alpha = w.op.MatMul(*sides), w.number("alpha", 1.0)
    return [product if alpha == 1 else w.op.Mul(product, w.constant(alpha))]


def _transposed(w: Writer, x: ir.Value, turned: bool) -> ir.Value:
    if not turned:
        return x
    axes = [*range(w.rank(x))]
    return w.op.Transpose(x, perm=[*axes[:-2], axes[-1], axes[-2]])


def _gelu(w: Writer, x: ir.Value) -> ir.Value:
    bent = w.op.Erf(w.op.Div(x, w.constant(sqrt(2))))
    return w.op.Mul(w.op.Mul(x, w.op.Add(bent, w.constant(1.0))), w.constant(0.5))


def _fast_gelu(w: Writer) -> Sequence[ir.Value]:
    x = w.op.Add(w.input(0), w.input(1)) if w.has(1) else w.input(0)
    cube = w.op.Mul(w.op.Pow(x, w.constant(3.0)), w.constant(0.044715))
    bent = w.op.Tanh(w.op.Mul(w.op.Add(x, cube), w.constant(sqrt(2 / pi))))
    return [w.op.Mul(w.op.Mul(x, w.op.Add(bent, w.constant(1.0))), w.constant(0.5))]


def _quick_gelu(w: Writer) -> Sequence[ir.Value]:
    scaled = w.op.Mul(w.input(0), w.constant(w.number("alpha", 1.702)))
    return [w.op.Mul(w.input(0), w.op.Sigmoid(scaled))]


def _skip_layer_norm(w: Writer) -> Sequence[ir.Value]:
    total = w.op.Add(w.input(0), w.input(1))
    if w.has(4):
        total = w.op.Add(total, w.input(4))
    operands = [total, w.input(2), *([w.input(3)] if w.has(3) else [])]
    for value in w.node.outputs[1:3]:
        if value.uses() or value.is_graph_output():
            raise w.refused("its mean is used", "save the file without optimization")
    normal = w.op.LayerNormalization(*operands, axis=-1, epsilon=w.number("epsilon", 1e-12))
    return [normal, normal, normal, total]


def _root_mean_square_norm(w: Writer, x: ir.Value, scale: ir.Value) -> ir.Value:
    axis = w.node.attributes.get_int("axis", -1)
    if axis != -1 and axis + 1 != w.rank(w.input(0)):
        raise w.refused(f"it is along axis {axis}", "save the file without optimization")
    mean = w.op.ReduceMean(w.op.Mul(x, x), w.constant(np.array([-1])))
    spread = w.op.Sqrt(w.op.Add(mean, w.constant(w.number("epsilon", 1e-5))))
    return w.op.Mul(w.op.Div(x, spread), scale)


def _simplified_layer_norm(w: Writer) -> Sequence[ir.Value]:
    return [_root_mean_square_norm(w, w.input(0), w.input(1))]


def _skip_simplified_layer_norm(w: Writer) -> Sequence[ir.Value]:
    total = w.op.Add(w.input(0), w.input(1))
    if w.has(3):
        total = w.op.Add(total, w.input(3))
    for value in w.node.outputs[1:3]:
        if value.uses() or value.is_graph_output():
            raise w.refused("its mean is used", "save the file without optimization")
    normal = _root_mean_square_norm(w, total, w.input(2))
    return [normal, normal, normal, total]


def _where(w: Writer) -> Sequence[ir.Value]:
    return [w.codes(w.op.Where(w.input(0), w.real(1), w.real(4)), 7)]


WRITTEN: dict[str, Write] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearSoftmax": _softmax,
    "QLinearConcat": _concat,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _scaled_matmul,
    "DynamicQuantizeLSTM": _dynamic_lstm,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "TransposeMatMul": _fused_matmul,
    "Gelu": lambda w: [_gelu(w, w.input(0))],
    "BiasGelu": lambda w: [_gelu(w, w.op.Add(w.input(0), w.input(1)))],
    "FastGelu": _fast_gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SimplifiedLayerNormalization": _simplified_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_simplified_layer_norm,
    "QLinearWhere": _where,
    **ATTENTION,
}
"""By the name of the operator."""

_STANDARD = ("QLinearConv", "QLinearMatMul")
_SAME = ("QuantizeLinear", "DequantizeLinear", "Trilu", "Pad")


def write_as_standard(model: ir.Model) -> None:
    """Write the operators of :data:`WRITTEN` as others of the standard, in place.

    Raises:
        CaptureError: One of them has no such form.
    """
    editor = GraphEditor(model.graph)
    for graph in (model.graph, *model.graph.subgraphs()):
        for node in list(graph):
            if node.domain == DOMAIN and node.op_type in _SAME:
                node.domain = ""
            known = node.op_type in WRITTEN
            if known and node.domain == (DOMAIN if node.op_type not in _STANDARD else ""):
                _write(model, editor, graph, node)
    if not any(node.domain == DOMAIN for node in model.graph.all_nodes()):
        model.graph.opset_imports.pop(DOMAIN, None)


def _write(
    model: ir.Model, editor: GraphEditor, graph: ir.Graph | ir.Function, node: ir.Node
) -> None:
    writer = Writer(model, editor, node)
    results = list(WRITTEN[node.op_type](writer))[: len(node.outputs)]
    made = list(writer.op.nodes)
    name = node.outputs[0].name
    for each in made:
        for value in each.outputs:
            value.name = editor.free_name(f"{name}_{each.op_type.lower()}")
        each.name = each.outputs[0].name
    made[-1].name = node.name or name
    pairs = [pair for pair in zip(node.outputs, results, strict=True) if pair[0].name]
    outputs, results = [old for old, _ in pairs], [new for _, new in pairs]
    for old, new in zip(outputs, results, strict=True):
        new.shape, new.type = new.shape or old.shape, old.type
    ir.convenience.replace_nodes_and_values(graph, node, [node], made, outputs, results)
