"""Layers with 16-bit activations inside an int8 QDQ graph.

What such a layer writes is stored in int16, with a range that has room for unseen values, made
symmetric around zero point 0. It reads int16 too: an int8 activation is widened in front of it,
which loses nothing that counts, and one in float is quantized to int16 at once. A layer in int8
reads the int16 activation rounded to the int8 scale that it would have had. Both steps are a
QuantizeLinear of their own, so that the TFLite file can state the same. What stays in float reads
int16.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.export.graph_edit import (
    CUTS,
    STATES,
    GraphEditor,
    constant_array,
    describe,
    put_before,
)
from edgeconv.export.passes.steps import Step, broken, run
from edgeconv.export.precision.int16x8_onnx import (
    INT16,
    RaiseOpset,
    cuts_negatives,
    int8_parameters,
    is_bias,
    symmetric,
)
from edgeconv.export.quantize.integer_forms import data_inputs
from edgeconv.export.quantize.operators import OPERATORS
from edgeconv.export.quantize.parameters import ActivationParameters

Activations = Mapping[str, ActivationParameters]

# The bias of an int16 layer has the scale of its input and weight as if the input had 8 bits: int32
# holds it, and a kernel with finer sums multiplies it by this power of two.
STEPS_IN_INT8 = 256


def with_islands(
    model: ir.Model, int16: Collection[str], in_float: Collection[str], roomy: Activations
) -> ir.Model:
    """Copy an int8 QDQ graph, with some nodes in int16.

    Args:
        model: The graph.
        int16: The names of the nodes.
        in_float: The names of the nodes that stay in float.
        roomy: The parameters that each activation has in int16, before they are made symmetric.
    """
    steps = [
        Step(RaiseOpset(), "first: QuantizeLinear has int16 only from there on"),
        Step(MakeIslands(int16, in_float, roomy), "the only one that changes scales"),
        Step(common.RemoveUnusedNodesPass(), "last: nothing reads the old parameters now"),
    ]
    return run(model.clone(), steps)


class MakeIslands(ir.passes.InPlacePass):
    """States in int16 what some nodes read and write.

    Args:
        int16: The names of the nodes.
        in_float: The names of the nodes that stay in float.
        roomy: The parameters that each activation has in int16, before they are made symmetric.
    """

    def __init__(
        self, int16: Collection[str], in_float: Collection[str], roomy: Activations
    ) -> None:
        super().__init__()
        self._int16, self._in_float, self._roomy = int16, in_float, roomy

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Widen what they write, then what they read."""
        _Islands(model.graph, self._int16, self._in_float, self._roomy).run()
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that nothing is in int8 that these nodes read from other nodes."""
        for node in model.graph:
            if node.name not in self._int16:
                continue
            for value in _activations(node):
                producer = value.producer()
                codes = None if producer is None else producer.inputs[0]
                if codes is not None and codes.dtype in (ir.DataType.INT8, ir.DataType.UINT8):
                    raise broken(self, f"{node.name} reads {value.name} in int8")


class _Islands:
    def __init__(
        self,
        graph: ir.Graph,
        int16: Collection[str],
        in_float: Collection[str],
        roomy: Activations,
    ) -> None:
        self._roomy = roomy
        self._graph, self._editor = graph, GraphEditor(graph)
        self._int16, self._in_float = frozenset(int16), frozenset(in_float)
        self._zero = self._editor.constant("int16_zero_point", np.zeros((), INT16))

    def run(self) -> None:
        written = [node for node in self._graph if self._is_written_wide(node)]
        for quantize in [node for node in written if cuts_negatives(node)]:
            x = quantize.inputs[0]
            assert x is not None
            self._int16 |= {put_before(self._editor, quantize, "Relu", f"{x.name}_relu")}
        for quantize in written:
            self._widen(quantize)
        inside = [node for node in self._graph if node.name in self._int16]
        for node in inside:
            for value in list(_activations(node)):
                self._widen_input(node, value)
        for node in inside:
            self._bias(node)

    def _is_written_wide(self, node: ir.Node) -> bool:
        """Whether a QuantizeLinear stores what a node in int16 writes, or a clamp of that.

        Of the clamp nothing may be left but the QuantizeLinear.
        """
        x = node.inputs[0] if node.op_type == "QuantizeLinear" else None
        producer = None if x is None else x.producer()
        if producer is None or producer.op_type != "DequantizeLinear":
            return producer is not None and producer.name in self._int16
        codes = producer.inputs[0]
        before = None if codes is None else codes.producer()
        is_output = node.outputs[0].is_graph_output()
        return before is not None and not is_output and self._is_written_wide(before)

    def _widen(self, quantize: ir.Node) -> None:
        """State the result of a node in int16; who reads int8 gets it rounded to its old scale."""
        old = [value for value in quantize.inputs[1:3] if value is not None]
        scale = self._scale(quantize)
        codes = quantize.outputs[0]
        narrow_type = codes.dtype
        dequantizes = list(codes.consumers())
        is_output = codes.is_graph_output()
        self._state(quantize, scale)
        codes.type = ir.TensorType(ir.DataType.INT16)
        for dequantize in dequantizes:
            self._state(dequantize, scale)
            real = dequantize.outputs[0]
            uses = [use for use in real.uses() if self._is_narrow(use.node)]
            if uses:
                narrow = self._rounded(dequantize, real, old, narrow_type)
                for use in uses:
                    use.node.replace_input_with(use.idx, narrow)
        if is_output:
            self._round_output(quantize, codes, old, narrow_type)

    def _is_narrow(self, reader: ir.Node) -> bool:
        """Whether a node computes in int8."""
        return (
            reader.op_type in OPERATORS
            and reader.name not in self._int16
            and reader.name not in self._in_float
        )

    def _rounded(
        self, after: ir.Node, real: ir.Value, old: list[ir.Value], dtype: ir.DataType | None
    ) -> ir.Value:
        """``real`` in int8 again, behind the node ``after``."""
        return self._pair(after, real, old, f"{real.name}_int8", dtype)

    def _round_output(
        self, quantize: ir.Node, codes: ir.Value, old: list[ir.Value], dtype: ir.DataType | None
    ) -> None:
        """Give an output of the network, which is in int8, its type back."""
        name = str(codes.name)
        codes.name = self._editor.free_name(f"{name}_int16")
        scale, zero = quantize.inputs[1:3]
        dequantize = ir.node("DequantizeLinear", [codes, scale, zero])
        narrow = ir.node("QuantizeLinear", [dequantize.outputs[0], *old])
        dequantize.name = self._editor.free_name(f"{name}_real")
        dequantize.outputs[0].name = dequantize.name
        describe(dequantize.outputs[0], codes, dtype=ir.DataType.FLOAT)
        narrow.name = self._editor.free_name(f"{name}_int8")
        narrow.outputs[0].name = name
        describe(narrow.outputs[0], codes, dtype=dtype)
        self._graph.insert_after(quantize, [dequantize, narrow])
        for index, output in enumerate(self._graph.outputs):
            if output is codes:
                self._graph.outputs[index] = narrow.outputs[0]

    def _widen_input(self, node: ir.Node, value: ir.Value) -> None:
        dequantize = value.producer()
        codes = None if dequantize is None else dequantize.inputs[0]
        if dequantize is None or codes is None or codes.const_value is not None:
            return
        if codes.dtype not in (ir.DataType.INT8, ir.DataType.UINT8):
            return
        scale = self._constant_scale(self._scale(dequantize))
        readers = self._int16
        quantize = codes.producer()
        real = None if quantize is None else quantize.inputs[0]
        if quantize is not None and real is not None and self._is_float(real):
            readers |= self._in_float
            self._put_clamp_back(quantize)
            real = quantize.inputs[0]
            assert real is not None
        else:
            real = value
        uses = [use for use in value.uses() if use.node.name in readers]
        wide = self._pair(
            dequantize, real, [scale, self._zero], f"{value.name}_int16", ir.DataType.INT16
        )
        for use in uses:
            use.node.replace_input_with(use.idx, wide)

    def _put_clamp_back(self, quantize: ir.Node) -> None:
        """Write the Relu or Clip that only an int8 range stands for: that of int16 is symmetric."""
        if CUTS not in quantize.meta:
            return
        x, (low, high) = quantize.inputs[0], quantize.meta[CUTS]
        assert x is not None
        if (low, high) == (0, np.inf):
            put_before(self._editor, quantize, "Relu", f"{x.name}_relu")
            return
        bounds = [
            self._editor.constant(f"{x.name}_bound", np.float32(each)) for each in (low, high)
        ]
        put_before(self._editor, quantize, "Clip", f"{x.name}_clip", bounds)

    def _is_float(self, value: ir.Value) -> bool:
        """Whether ``value`` is computed in float, or an input of the network in float."""
        producer = value.producer()
        if producer is None:
            return value.is_graph_input()
        return producer.name in self._in_float or producer.op_type not in (
            *OPERATORS,
            "DequantizeLinear",
        )

    def _pair(
        self,
        after: ir.Node,
        real: ir.Value,
        parameters: list[ir.Value],
        name: str,
        dtype: ir.DataType | None,
    ) -> ir.Value:
        quantize = ir.node("QuantizeLinear", [real, *parameters])
        dequantize = ir.node("DequantizeLinear", [quantize.outputs[0], *parameters])
        for step, suffix in ((quantize, "quantized"), (dequantize, "dequantized")):
            step.name = step.outputs[0].name = self._editor.free_name(f"{name}_{suffix}")
        describe(quantize.outputs[0], real, dtype=dtype)
        describe(dequantize.outputs[0], real)
        self._graph.insert_after(after, [quantize, dequantize])
        return dequantize.outputs[0]

    def _bias(self, node: ir.Node) -> None:
        """State a bias in the scale that follows from the int16 input's."""
        values = [value.producer() if value else None for value in node.inputs[:3]]
        if len(values) < 3 or any(each is None for each in values):
            return
        x, weight, bias = (each for each in values if each is not None)
        if not is_bias(bias) or x.op_type != "DequantizeLinear":
            return
        scales = constant_array(weight.inputs[1])
        real = constant_array(bias.inputs[0]).astype(np.float64) * constant_array(bias.inputs[1])
        step = np.float32(constant_array(x.inputs[1]) * np.float32(STEPS_IN_INT8))
        new = np.asarray(step * scales, np.float32)
        if new.ndim:
            new = np.tile(new, real.size // new.size)
        integers = np.rint(real / new).astype(np.int32)
        name = f"{node.outputs[0].name}_bias_int16"
        bias.replace_input_with(0, self._editor.constant(f"{name}_quantized", integers))
        bias.replace_input_with(1, self._editor.constant(f"{name}_scale", new))

    def _scale(self, node: ir.Node) -> float:
        roomy = self._roomy.get(str(node.meta.get(STATES)))
        if roomy is None:
            return symmetric(*int8_parameters(node))
        return symmetric(roomy.scale, roomy.zero_point)

    def _constant_scale(self, scale: float) -> ir.Value:
        return self._editor.constant("int16_scale", np.array(scale, np.float32))

    def _state(self, node: ir.Node, scale: float) -> None:
        node.replace_input_with(1, self._constant_scale(scale))
        node.replace_input_with(2, self._zero)


def _activations(node: ir.Node) -> Iterator[ir.Value]:
    """The inputs of a node that are dequantized activations."""
    for value in data_inputs(node, OPERATORS[node.op_type]):
        producer = value.producer()
        if producer is not None and producer.op_type == "DequantizeLinear":
            codes = producer.inputs[0]
            if codes is not None and codes.const_value is None:
                yield value
