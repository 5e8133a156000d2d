"""ONNX graph to TFLite file, node by node in the graph's order.

A node runs in integers if its data comes from DequantizeLinear nodes and its result goes to
QuantizeLinear nodes. Q and DQ nodes emit nothing: the float value between them is represented by
the quantized tensor, and a DEQUANTIZE is emitted only where a consumer needs float data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import EdgeconvError, UnsupportedOperator
from edgeconv.export.cut_places import part_before
from edgeconv.export.graph_edit import IN_FLOAT, only_consumer
from edgeconv.export.image_input import OUTSIDE
from edgeconv.export.layouts import layout_of
from edgeconv.export.passes.operators_on_codes import ResizeOnCodes
from edgeconv.export.tflite.builder import (
    FLOAT,
    Builder,
    Constant,
    Stored,
    origin,
    static_shape,
    title,
)
from edgeconv.export.tflite.constant_folding import SHAPED_BY_VALUES, fold_constants, nothing_of
from edgeconv.export.tflite.forms import USUAL, Forms
from edgeconv.export.tflite.fusion import Fusion, bounds, fusion
from edgeconv.export.tflite.graph import (
    TYPES,
    Activation,
    Graph,
    NoIntegerForm,
    Quantization,
    Tensor,
    WideQuantization,
)
from edgeconv.export.tflite.layout import CHANNELS_LAST, Order, Perm, identity, permuted
from edgeconv.export.tflite.legalize.inline import inline_and_unroll
from edgeconv.export.tflite.legalize.widen_types import WIDER, widen_types
from edgeconv.export.tflite.node_lowering import BYTES, NodeLowering
from edgeconv.export.tflite.open_batch import open_batch
from edgeconv.export.tflite.qdq import (
    computes_means,
    is_dequantize,
    is_quantize,
    outer,
    stays_quantized,
    targets,
)
from edgeconv.export.tflite.registry import SHARED, STANDARD, Integer, Rule, rule
from edgeconv.export.tflite.writer import operator_versions, origins, write

ELEMENT_TYPES = {ir.DataType.from_numpy(dtype) for dtype in TYPES}
CASTABLE_TYPES = {*ELEMENT_TYPES, *WIDER}
"""Those of inputs and outputs."""
_OPEN_RESULTS = {"NonMaxSuppression", "NonZero", "Unique", "Compress"}
OLDEST_OPSET = 13
"""Before it, Softmax meant something else and axes were attributes."""


@dataclass(frozen=True)
class LoweredModel:
    """A TFLite file and what it consists of.

    ``operators`` maps the name of each operator to the highest version written of it, ``origins``
    to the node, "name (operator)", that this version was first written for, if there is one.
    ``float_fallback`` names the nodes of a quantized graph that run in float, with the reason, and
    ``tables`` those that are float operators between DEQUANTIZE and QUANTIZE on purpose.
    """

    data: bytearray
    operators: dict[str, int]
    origins: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    float_fallback: tuple[str, ...]
    tables: tuple[str, ...]


def lower(
    model: ir.Model,
    *,
    layout: Layout = Layout.NHWC,
    finish: Callable[[Graph], tuple[str, ...]] = lambda graph: (),
    one_more: ir.Model | None = None,
    forms: Forms = USUAL,
) -> LoweredModel:
    """Lower an ONNX model (opset 13 or later, static shapes, float32 or QDQ) to TFLite.

    The inputs and outputs keep their names and order. Those with four dimensions get ``layout``,
    but stay as they are where they are channels last in the graph itself. The model is not changed.

    Args:
        model: The model.
        layout: The order of the dimensions of four-dimensional inputs and outputs.
        finish: Changes the TFLite graph in place before it is written; returns what it thereby
            leaves in float, each with the reason.
        one_more: The model at a batch of one sample more, for a file of every batch.
        forms: The forms of int8 operators that are not the usual ones.

    Raises:
        UnsupportedOperator: A node or a value has no counterpart in TFLite.
    """
    declared = [value.dtype for value in model.graph.outputs]
    inputs, outputs = (
        [_border(value, layout) for value in side]
        for side in (model.graph.inputs, model.graph.outputs)
    )

    def lowered(model: ir.Model) -> tuple[Graph, tuple[str, ...], set[str]]:
        lowering = _Lowering(_written_out(model), inputs, outputs, forms)
        graph, float_fallback = lowering.run(declared)
        return graph, float_fallback + finish(graph), lowering.integer

    graph, float_fallback, integer = lowered(model)
    if one_more is not None:
        open_batch(graph, lowered(one_more)[0])
    wide = [
        each.name for each in _tensors(graph) if isinstance(each.quantization, WideQuantization)
    ]
    if wide:
        raise UnsupportedOperator(
            f"{wide[0]} is an int16 activation, which this file cannot have",
            hint="export the float network with --precision int16x8",
        )
    versions = operator_versions(graph)
    return LoweredModel(
        data=write(graph),
        operators=versions,
        origins=origins(graph, versions),
        inputs=tuple(map(_info, graph.inputs, inputs)),
        outputs=tuple(map(_info, graph.outputs, outputs)),
        float_fallback=float_fallback,
        tables=_tables(graph, integer),
    )


def _tables(graph: Graph, integer: set[str]) -> tuple[str, ...]:
    """The nodes that have an integer form, and yet float operators in it."""
    found = {
        operator.source: None
        for operator in graph.operators
        if operator.source in integer
        and operator.name != "DEQUANTIZE"
        and any(tensor.dtype == FLOAT for tensor in operator.outputs)
    }
    return tuple(found)


def _tensors(graph: Graph) -> Iterator[Tensor]:
    for operator in graph.operators:
        yield from operator.outputs


def demand_known(model: ir.Model) -> None:
    """Refuse a node that :func:`lower` refuses whatever the precision.

    The export does so before a calibration, which may take long.

    Raises:
        UnsupportedOperator: The lowering does not know an operator or an element type.
    """
    graph = _written_out(model)
    for node in fold_constants(_live_nodes(graph), Builder()):
        _check_types(node, _rule_of(node))


def _written_out(model: ir.Model) -> ir.Graph:
    """The nodes to lower."""
    opset = model.opset_imports.get("", OLDEST_OPSET)
    if opset < OLDEST_OPSET:
        raise UnsupportedOperator(
            f"the model uses opset {opset}, older than {OLDEST_OPSET}",
            hint="convert it with onnx.version_converter first",
        )
    model, resize = inline_and_unroll(widen_types(model)), ResizeOnCodes()
    if any(map(resize.applies, model.graph)):
        model = resize(model.clone()).model
    return model.graph


@dataclass(frozen=True)
class _Border:
    """How an input or output of the graph is laid out in the file."""

    layout: Layout | None
    perm: Perm


def _border(value: ir.Value, wanted: Layout) -> _Border:
    """Lay out an input or output; what is channels last in the graph stays so."""
    rank = 0 if value.shape is None else len(value.shape)
    own = layout_of(value)
    if own is Layout.NCHW and wanted is Layout.NHWC:
        return _Border(wanted, CHANNELS_LAST)
    return _Border(own, identity(rank))


class _Lowering:
    """Lowers the nodes of a graph.

    Attributes:
        perms: The order of the axes of each input and output, from ONNX's to the file's.
        float_fallback: What runs in float in a quantized graph, and why.
        integer: The other nodes of a quantized graph.
    """

    def __init__(
        self,
        graph: ir.Graph,
        inputs: Sequence[_Border],
        outputs: Sequence[_Border],
        forms: Forms,
    ) -> None:
        self.graph = graph
        self.perms = {
            value: border.perm
            for value, border in zip(
                [*graph.inputs, *graph.outputs], [*inputs, *outputs], strict=True
            )
        }
        self.builder = Builder(forms)
        self.float_fallback: dict[str, str] = {}
        self.integer: set[str] = set()

    def run(self, declared: Sequence[ir.DataType | None]) -> tuple[Graph, tuple[str, ...]]:
        """The TFLite graph, whose outputs have the ``declared`` types, and what runs in float."""
        for value in self.graph.inputs:
            self._input(value)
        nodes = _live_nodes(self.graph)
        nodes = fold_constants(nodes, self.builder)
        # A graph that only stores its weights as integers computes in float throughout.
        quantized = any(is_quantize(node) for node in nodes)
        absorbed: set[ir.Node] = set()
        operators = self.builder.graph.operators
        for node in nodes:
            if node in absorbed:
                continue
            count = len(operators)
            fused, reason = self._guarded(node)
            for operator in operators[count:]:
                operator.source = origin(node)
            if fused.result in self.builder:
                absorbed.update(fused.absorbed)
            if quantized and OUTSIDE not in node.meta:
                if reason:
                    self.float_fallback.setdefault(origin(node), reason)
                else:
                    self.integer.add(origin(node))
        for value, dtype in zip(self.graph.outputs, declared, strict=True):
            self._output(value, dtype)
        self.builder.graph.prune()
        left = tuple(f"{name}: {reason}" for name, reason in self.float_fallback.items())
        return self.builder.graph, left

    def _guarded(self, node: ir.Node) -> tuple[Fusion, str]:
        """Lower one node; a node that contradicts itself is refused, wherever that shows."""
        try:
            return self._node(node)
        except EdgeconvError:
            raise
        except Exception as error:
            raise UnsupportedOperator(
                f"{title(node)}: its shapes and attributes make no sense to the TFLite export "
                f"({type(error).__name__}: {str(error).partition(chr(10))[0]})",
                hint=f"check the model with onnx.checker, {part_before(node)}, or pass only "
                "--format onnx",
            ) from error

    def _node(self, node: ir.Node) -> tuple[Fusion, str]:
        """Lower one node. Returns what it absorbed, and why it runs in float if it does."""
        found = _rule_of(node)
        _check_types(node, found)
        fused, reason = self._lower(node, found)
        for value in node.outputs:
            used = value.is_graph_output() or any(
                user not in fused.absorbed for user in value.consumers()
            )
            if used and value not in self.builder:
                raise UnsupportedOperator(
                    f"{title(node)}: its output {value.name} is used, which TFLite does not give",
                    hint="use its first output only",
                )
        return fused, reason

    def _lower(self, node: ir.Node, found: Rule) -> tuple[Fusion, str]:
        if is_quantize(node) or is_dequantize(node) or found.integer is Integer.INDEX_RESULT:
            return self._attempt(node, found, integer=False, wanted=None)[0], ""
        try:
            wanted = self._wanted(node, found)
            return self._attempt(node, found, integer=True, wanted=wanted)[0], ""
        except NoIntegerForm as answer:
            fused, ctx = self._attempt(node, found, integer=False, wanted=None)
            # Arithmetic on indices and shapes runs neither in float nor in int8.
            real = any(
                value is not None and value.dtype == ir.DataType.FLOAT for value in node.inputs
            )
            return fused, str(answer) if ctx.emitted and real else ""

    def _attempt(
        self, node: ir.Node, found: Rule, *, integer: bool, wanted: Quantization | None
    ) -> tuple[Fusion, NodeLowering]:
        fused = Fusion(Activation.NONE, node.outputs[0])
        if found.fuses:
            fused = fusion(node, self.builder, wanted)
        ctx = NodeLowering(self.builder, node, integer=integer, wanted=wanted, fusion=fused)
        found.lower(ctx)
        return fused, ctx

    def _wanted(self, node: ir.Node, found: Rule) -> Quantization:
        """The quantization of a node's result, if the node runs in integers."""
        if IN_FLOAT in node.meta:
            raise NoIntegerForm(str(node.meta[IN_FLOAT]))
        data = [
            (value, held)
            for value in node.inputs
            if value is not None and isinstance(held := self.builder.held(value), Stored)
            # Indices and conditions are not quantized.
            if value.dtype == ir.DataType.FLOAT or held.quantization is not None
        ]
        for value, held in data:
            if held.quantization is None:
                raise NoIntegerForm(f"its input {value.name} is not quantized")
        if found.integer is Integer.NONE:
            raise NoIntegerForm(found.reason)
        sources = {held.quantization for _, held in data}
        if found.integer is Integer.MOVES and len(sources) == 1:
            (source,) = sources
            assert source is not None
            if computes_means(node) and not stays_quantized(node.outputs[0]):
                raise NoIntegerForm("its result is not quantized")
            return source
        wanted = self._target(node, found)
        if wanted is None:
            raise NoIntegerForm("the graph states no single scale for its result")
        return wanted

    def _target(self, node: ir.Node, found: Rule) -> Quantization | None:
        """What the QuantizeLinear nodes behind ``node`` agree on, seen through an activation."""
        value = node.outputs[0]
        follower = only_consumer(value)
        if found.fuses and follower is not None and bounds(follower, self.builder) is not None:
            value = follower.outputs[0]
        found_targets = targets(value, self.builder)
        return found_targets.pop() if len(found_targets) == 1 else None

    def _input(self, value: ir.Value) -> None:
        shape = static_shape(value)
        if value.dtype not in CASTABLE_TYPES:
            known = "no type" if value.dtype is None else f"the type {value.dtype.name}"
            raise UnsupportedOperator(
                f"input {value.name} has {known}, which the TFLite export does not write",
                hint="use float32" if value.dtype is None else _other_type(value.dtype),
            )
        perm = self.perms[value]
        tensor = Tensor(value.name or "input", permuted(shape, perm), value.dtype.numpy())
        self.builder.graph.inputs.append(tensor)
        held = nothing_of(value) if 0 in shape else Stored(tensor, Order.of(shape, perm))
        self.builder.bind(value, held)

    def _output(self, value: ir.Value, declared: ir.DataType | None) -> None:
        builder = self.builder
        held = builder.held(value)
        shape = static_shape(value)
        if isinstance(held, Constant):
            constant = builder.constant(held.real(), f"{value.name}/constant")
            held = Stored(constant, Order.of(shape, identity(len(shape))))
        tensor = builder.placed(held, shape, self.perms[value])
        dtype = FLOAT if value.dtype is None else value.dtype.numpy()
        if held.quantization is not None and dtype == FLOAT:
            tensor = builder.dequantize(tensor)
        elif isinstance(held.quantization, WideQuantization):
            declared = None  # int16 once the whole graph is lowered
        elif held.quantization is not None:
            tensor = builder.quantize(tensor, outer(held.quantization, dtype), dtype)
        if declared is not None and declared in WIDER:
            tensor = builder.cast(tensor, declared.numpy())
        taken = [*builder.graph.inputs, *builder.graph.outputs]
        if tensor.data is not None or any(tensor is other for other in taken):
            copy = Tensor("", tensor.shape, tensor.dtype, None, tensor.quantization)
            to = builder.integers(tensor.shape, f"{value.name}/shape")
            if 0 in shape:  # TFLite does not take a constant without elements for one
                zero = builder.constant(np.zeros((), tensor.dtype), f"{value.name}/zero")
                builder.emit("FILL", [to, zero], [copy])
            else:
                builder.emit("RESHAPE", [tensor, to], [copy], {"newShape": tensor.shape})
            tensor = copy
        tensor.name = value.name or "output"
        builder.graph.outputs.append(tensor)


def _other_type(dtype: ir.DataType) -> str:
    """What to use in the place of a type that TFLite files do not have."""
    if dtype.is_string():
        return "turn text into numbers outside of the network"
    return "use int64" if dtype.is_integer() else "use float32"


def _rule_of(node: ir.Node) -> Rule:
    found = rule(node.op_type)
    standard = node.domain in STANDARD or node.op_type in SHARED
    if node.op_type in SHAPED_BY_VALUES and standard:
        raise UnsupportedOperator(
            f"{title(node)}: the shape of its result is computed by the network",
            hint=f"make its inputs constant, {part_before(node)}, or pass only --format onnx",
        )
    if node.op_type in _OPEN_RESULTS and standard:
        raise UnsupportedOperator(
            f"{title(node)}: how many elements its result has depends on the data, and TFLite "
            "files have fixed shapes",
            hint=f"{part_before(node)}, or pass only --format onnx",
        )
    if found is None or not standard:
        raise UnsupportedOperator(
            f"{title(node)}: TFLite export does not know this operator",
            hint=f"replace it in the network, {part_before(node)}, or pass only --format onnx",
        )
    return found


def _check_types(node: ir.Node, found: Rule) -> None:
    """Refuse what no tensor can hold, and arithmetic on bytes that are not codes for reals."""
    codes = is_quantize(node) or is_dequantize(node) or found.integer is Integer.MOVES
    any_type = is_quantize(node) or is_dequantize(node) or node.op_type in ("Cast", "Identity")
    castable = CASTABLE_TYPES if any_type else ELEMENT_TYPES
    for value in (*node.inputs, *node.outputs):
        if value is None or value.dtype is None:
            continue
        if value.dtype not in castable:
            raise UnsupportedOperator(
                f"{title(node)}: value {value.name} is of type {value.dtype.name}, which the "
                "TFLite export does not write",
                hint=f"{_other_type(value.dtype)}, {part_before(node)}, or pass only --format onnx",
            )
        if not codes and node.op_type != "Cast" and value.dtype in BYTES:
            raise UnsupportedOperator(
                f"{title(node)}: it computes with {value.dtype.name} numbers, which TFLite "
                "takes for quantized ones",
                hint="cast them to int32",
            )


def _live_nodes(graph: ir.Graph) -> list[ir.Node]:
    """The nodes that an output depends on, in order."""
    live: set[ir.Node] = set()
    for node in reversed(graph):
        if any(
            value.is_graph_output() or any(user in live for user in value.consumers())
            for value in node.outputs
        ):
            live.add(node)
    return [node for node in graph if node in live]


def _info(tensor: Tensor, border: _Border) -> TensorInfo:
    quantization = tensor.quantization if isinstance(tensor.quantization, Quantization) else None
    return TensorInfo(
        name=tensor.name,
        shape=tensor.signature or tensor.shape,
        dtype=np.dtype(tensor.dtype).name,
        layout=border.layout,
        scale=quantization.scale if quantization else None,
        zero_point=quantization.zero_point if quantization else None,
    )
