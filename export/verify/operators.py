"""Check the operators of an integer file one by one, on the integers that the network produces.

Two right programs round some values differently, and a deep network amplifies that until its
outputs differ as much as those of two independent quantizations. Their agreement at the end is
therefore no test of a conversion. Between two quantizations nothing is amplified: there a right
integer kernel is within one step of exact arithmetic.

So the graph is cut at each QuantizeLinear. The integers behind a cut become inputs of the graph,
those before it outputs. One run on a runtime then computes every operator on integers that exact
arithmetic found for a real sample, and shows what the operator makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from edgeconv.bundle import Format, Layout, TensorInfo
from edgeconv.export.apart import demand_survival
from edgeconv.export.data.samples import Sample
from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.known_nodes import known_nodes
from edgeconv.export.precision.variant import QuantizedGraph
from edgeconv.export.runtimes import (
    LiteRtRunner,
    NamedOutputs,
    OnnxRunner,
    Runner,
    open_session,
    relative,
)
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.builder import origin
from edgeconv.export.tflite.qdq import SHIFT, is_quantize
from edgeconv.export.verify.rounding import EPSILON, SATURATES, ULPS, last_operator
from edgeconv.metrics import relative_error
from edgeconv.verification import OperatorFigures

Arrays = Mapping[str, npt.NDArray[Any]]

# Rounding decides between two integers; nothing else may.
ALLOWED_STEPS = 1
# An int16 step is a 256th of an int8 one. LiteRT's 16-bit kernels multiply by 16-bit factors, some
# operators are two kernels, and functions are tables of 512 values: within 8 steps. The table of
# Softmax ends at exp(-10), which it holds as two steps: whatever is smaller adds that to the sum.
_ALLOWED_INT16_STEPS = 8
_SMALLEST_EXPONENTIAL_STEPS = 2
# An operator that stays in float is off by a few units in the last place of what it adds up, or of
# 1 where it saturates: ONNX Runtime's Sigmoid of -13 has three digits.
_ALLOWED_FLOAT_ERROR = 1e-4
# The integers of two samples reach every operator at other values.
SAMPLES = 2


@dataclass(frozen=True)
class ExactRun:
    """What exact arithmetic makes of a quantized graph: float operators, rounded where it says so.

    Attributes:
        outputs: The outputs for each sample.
        integers: For the first samples, the integers of every QuantizeLinear and the outputs, by
            name; empty for a graph without fixed scales.
    """

    outputs: list[list[npt.NDArray[Any]]]
    integers: list[Arrays]


def run_exactly(graph: QuantizedGraph, samples: Sequence[Sample]) -> ExactRun:
    """Run a quantized graph on ONNX Runtime as it is written, without any fusion.

    Args:
        graph: The graph.
        samples: Its inputs.

    Raises:
        EdgeconvError: ONNX Runtime refuses the graph, or an operator fails on the inputs.
    """
    proto = ir.to_proto(graph.model)
    outputs = [output.name for output in proto.graph.output]
    names = list(outputs)
    for value in _cuts(graph.model.graph) if graph.fixed_scales else ():
        assert value.dtype is not None
        if value.name not in names:
            names.append(str(value.name))
            proto.graph.output.append(
                onnx.helper.make_tensor_value_info(names[-1], int(value.dtype), None)
            )
    runner = NamedOutputs(open_session(proto.SerializeToString(), fuse=False))
    detailed = samples[:SAMPLES] if graph.fixed_scales else []
    integers: list[Arrays] = [
        dict(zip(names, arrays, strict=True)) for arrays in runner.run_each(names, detailed)
    ]
    found = [[known[name] for name in outputs] for known in integers]
    found += runner.run_each(outputs, samples[len(detailed) :])
    return ExactRun(found, integers)


def check_operators(
    format: Format, graph: QuantizedGraph, samples: Sequence[Sample], exact: Sequence[Arrays]
) -> OperatorFigures:
    """Compare each operator of a file with exact arithmetic on the same integers.

    Args:
        format: The format of the file, which decides the runtime.
        graph: What the file was made from.
        samples: Inputs of the network.
        exact: The integers that :func:`run_exactly` found for the first of them.

    Raises:
        EdgeconvError: The runtime refuses the graph.
    """
    if format is Format.ONNX:
        cut, sources = _cut(graph.model)
        runner = _on_onnxruntime(cut)
    else:
        cut, sources = _cut(_narrow(graph))
        runner = _on_litert(cut, graph)
    names = [str(value.name) for value in cut.graph.outputs]
    worst = _Worst(cut.graph)
    for sample, known in zip(samples, exact, strict=False):
        given = dict(zip((str(v.name) for v in cut.graph.inputs), sample, strict=False))
        given |= {name: known[source] for name, source in sources.items() if source in known}
        feed = [_given(given, value) for value in cut.graph.inputs]
        for name, array in zip(names, runner.run(feed), strict=True):
            if name in known:
                worst.see(name, known[name], array)
    return worst.figures()


def _given(given: Arrays, value: ir.Value) -> npt.NDArray[Any]:
    """An input of the cut graph; zeros where exact arithmetic has no such integers."""
    found = given.get(str(value.name))
    assert value.shape is not None
    assert value.dtype is not None
    return np.zeros(value.shape.numpy(), value.dtype.numpy()) if found is None else found


class _Worst:
    """Collects how far each operator is off at the most."""

    def __init__(self, graph: ir.Graph) -> None:
        self._values = {str(value.name): value for value in graph.outputs}
        self._writers = {name: value.producer() for name, value in self._values.items()}
        self._uncut = {
            name
            for name, node in self._writers.items()
            if node is not None and _rounds_in_bodies(node)
        }
        self._steps: dict[str, float] = {}
        self._excess: dict[str, float] = {}

    def see(self, name: str, exact: npt.NDArray[Any], got: npt.NDArray[Any]) -> None:
        """Compare one result with the exact one."""
        writer = self._writers[name]
        if writer is not None and writer.op_type == "DequantizeLinear":
            return  # It only says what integers mean that were given.
        if name in self._uncut:
            return  # A step of the integers inside is right, whatever it is here.
        if exact.dtype.kind == "f":
            off = relative_error(exact, got) / _ALLOWED_FLOAT_ERROR
            last = last_operator(self._values[name])
            if last is not None and last.op_type in SATURATES:
                error = np.abs(exact.astype(np.float64) - got).max(initial=0)
                off = min(off, float(error) / (ULPS * EPSILON))
        elif exact.dtype.itemsize > 2 or exact.dtype.kind == "b":
            return  # An index or a condition: a tie may decide it.
        else:
            off = float(np.abs(exact.astype(np.int32) - got).max(initial=0))
        allowed = self._allowed(name, exact.dtype)
        self._steps[name] = max(off, self._steps.get(name, 0.0))
        self._excess[name] = max(off / allowed, self._excess.get(name, 0.0))

    def figures(self) -> OperatorFigures:
        """The figures over everything that was seen."""
        worst = max(self._excess, key=self._excess.__getitem__, default=None)
        return OperatorFigures(
            checked=len(self._steps),
            largest_steps=0.0 if worst is None else self._steps[worst],
            largest_at=None if worst is None else self._place(worst),
            failed=tuple(self._place(name) for name, off in self._excess.items() if off > 1),
        )

    def _allowed(self, name: str, dtype: np.dtype[Any]) -> int:
        if dtype != np.int16:
            return ALLOWED_STEPS
        writer = self._writers[name]
        source = None if writer is None or not writer.inputs else writer.inputs[0]
        producer = None if source is None else source.producer()
        if producer is None or producer.op_type != "Softmax":
            return _ALLOWED_INT16_STEPS
        result = producer.outputs[0]
        assert result.shape is not None
        terms = result.shape.numpy()[producer.attributes.get_int("axis", -1)]
        return _ALLOWED_INT16_STEPS + _SMALLEST_EXPONENTIAL_STEPS * terms

    def _place(self, name: str) -> str:
        """The node whose result is quantized under ``name``."""
        node = self._writers[name]
        if node is not None and node.op_type == "QuantizeLinear":
            source = node.inputs[0]
            assert source is not None
            node = source.producer()
            if node is None:
                return f"input {source.name}"
        return name if node is None else origin(node)


def _rounds_in_bodies(last: ir.Node) -> bool:
    """Whether a node, or one between it and a cut, has a body that rounds, where no cut is made."""
    nodes, seen = [last], {last}
    while nodes:
        node = nodes.pop()
        bodies = [
            attribute.as_graph()
            for attribute in node.attributes.values()
            if attribute.type == ir.AttributeType.GRAPH
        ]
        if any(is_quantize(each) for body in bodies for each in body.all_nodes()):
            return True
        sources = (value.producer() for value in node.inputs if value is not None)
        before = {source for source in sources if source is not None} - seen
        seen |= before
        nodes += before
    return False


def _cuts(graph: ir.Graph) -> list[ir.Value]:
    """The integers of each QuantizeLinear that something reads, whose shape is known.

    Those that depend on constants and shapes only are not among them: the lowering folds them.
    """
    known = known_nodes(graph)
    return [
        node.outputs[0]
        for node in graph
        if node.op_type == "QuantizeLinear"
        and node not in known
        and node.outputs[0].consumers()
        and node.outputs[0].shape is not None
        and node.outputs[0].shape.is_static()
        and 0 not in node.outputs[0].shape.numpy()
    ]


def _cut(model: ir.Model) -> tuple[ir.Model, dict[str, str]]:
    """Cut a copy of a graph at its integers.

    Returns:
        The graph, and for each new input the name of the integers that belong there.
    """
    model = model.clone()
    editor = GraphEditor(model.graph)
    sources = {}
    for value in _cuts(model.graph):
        given = ir.val(editor.free_name(f"{value.name}_given"))
        describe(given, value)
        for use in list(value.uses()):
            use.node.replace_input_with(use.idx, given)
        model.graph.inputs.append(given)
        if not value.is_graph_output():
            model.graph.outputs.append(value)
        sources[str(given.name)] = str(value.name)
    return model, sources


def _narrow(graph: QuantizedGraph) -> ir.Model:
    """What the TFLite file is lowered from; with int8 activations where it is widened later.

    The widening makes int16 of int8, and knows no uint8 inputs and outputs.
    """
    model = graph.lowered_from
    if _is_wide(model) or not _is_wide(graph.model):
        return model
    model = model.clone()
    editor = GraphEditor(model.graph)
    for value in _cuts(model.graph):
        quantize = value.producer()
        assert quantize is not None
        for node in (quantize, *value.consumers()):
            zero_point = node.inputs[2]
            if zero_point is not None and zero_point.dtype == ir.DataType.UINT8:
                shifted = constant_array(zero_point).astype(np.int16) - SHIFT
                name = f"{zero_point.name}_int8"
                node.replace_input_with(2, editor.constant(name, shifted.astype(np.int8)))
        value.type = ir.TensorType(ir.DataType.INT8)
    return model


def _is_wide(model: ir.Model) -> bool:
    return any(value.dtype == ir.DataType.INT16 for value in _cuts(model.graph))


def _on_onnxruntime(cut: ir.Model) -> Runner:
    return OnnxRunner(
        ir.to_proto(cut).SerializeToString(),
        [_as_stored(info) for info in input_infos(cut)],
        [_as_stored(info) for info in output_infos(cut)],
    )


def _on_litert(cut: ir.Model, graph: QuantizedGraph) -> Runner:
    lowered = lower(cut, layout=Layout.NHWC, finish=graph.finish, forms=graph.forms)
    load = partial(
        LiteRtRunner,
        bytes(lowered.data),
        [_as_stored(info) for info in relative(lowered.inputs, input_infos(cut))],
        [_as_stored(info) for info in relative(lowered.outputs, output_infos(cut))],
    )
    demand_survival("a quantized operator on LiteRT", load)
    return load()


def _as_stored(info: TensorInfo) -> TensorInfo:
    """The same input or output, for integers that are given and taken as they are."""
    return info.model_copy(update={"scale": None, "zero_point": None})
