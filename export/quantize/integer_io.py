"""Give a QDQ graph integer inputs and outputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.bundle import IoType
from edgeconv.errors import UsageError
from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.passes.steps import Step, broken, run


def apply_io(model: ir.Model, io: IoType) -> ir.Model:
    """Return a copy of a QDQ graph whose float inputs and outputs are ``io`` integers.

    With ``IoType.FLOAT32`` the graph itself is returned. Integer inputs and outputs keep the names
    of the float ones. Their scale and zero point are those of the QuantizeLinear or
    DequantizeLinear beside them.

    Raises:
        UsageError: An input or output is computed in float.
    """
    if io is IoType.FLOAT32:
        return model
    return run(model.clone(), [Step(IntegerIo(io), "the only one: the rest of the graph stays")])


class IntegerIo(ir.passes.InPlacePass):
    """Gives a QDQ graph inputs and outputs of integers."""

    def __init__(self, io: IoType) -> None:
        super().__init__()
        self._dtype = np.dtype(io.value)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace the float inputs and outputs.

        Raises:
            UsageError: An input or output is computed in float.
        """
        editor = GraphEditor(model.graph)
        for graph_input in list(model.graph.inputs):
            if graph_input.dtype == ir.DataType.FLOAT:
                _integer_input(editor, graph_input, self._dtype)
        for index, output in enumerate(model.graph.outputs):
            if output.dtype == ir.DataType.FLOAT:
                _integer_output(editor, index, self._dtype)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that no input or output is float."""
        for value in (*model.graph.inputs, *model.graph.outputs):
            if value.dtype == ir.DataType.FLOAT:
                raise broken(self, f"{value.name} is float32")


def _integer_input(editor: GraphEditor, value: ir.Value, dtype: np.dtype) -> None:
    quantizers = list(value.consumers())
    if len(quantizers) != 1 or quantizers[0].op_type != "QuantizeLinear":
        raise UsageError(
            f"input {value.name!r} is used in float, so it cannot be {dtype}",
            hint="use --io float32",
        )
    quantizer = quantizers[0]
    stored = quantizer.outputs[0]
    value.type = ir.TensorType(ir.DataType.from_numpy(dtype))
    if stored.dtype == value.dtype:
        stored.replace_all_uses_with(value)
        editor.graph.remove(quantizer, safe=True)
        return
    # The other sign: the same integers, shifted by 128.
    dequantize = _pair_node(editor, "DequantizeLinear", value, quantizer, dtype)
    quantizer.replace_input_with(0, dequantize.outputs[0])
    editor.graph.insert_before(quantizer, dequantize)


def _integer_output(editor: GraphEditor, index: int, dtype: np.dtype) -> None:
    graph = editor.graph
    output = graph.outputs[index]
    dequantizer = output.producer()
    if dequantizer is None or dequantizer.op_type != "DequantizeLinear":
        raise UsageError(
            f"output {output.name!r} is computed in float, so it cannot be {dtype}",
            hint="use --io float32",
        )
    stored = dequantizer.inputs[0]
    assert stored is not None
    name = output.name
    output.name = editor.free_name(f"{name}_dequantized")
    if stored.dtype == ir.DataType.from_numpy(dtype):
        stored.name = name
        graph.outputs[index] = stored
        if not output.uses():
            graph.remove(dequantizer, safe=True)
        return
    quantize = _pair_node(editor, "QuantizeLinear", output, dequantizer, dtype)
    quantize.outputs[0].name = name
    graph.insert_after(dequantizer, quantize)
    graph.outputs[index] = quantize.outputs[0]


def _pair_node(
    editor: GraphEditor, op_type: str, x: ir.Value, like: ir.Node, dtype: np.dtype
) -> ir.Node:
    """Make a QuantizeLinear or DequantizeLinear of ``x`` for the other 8-bit type.

    Its scale is that of ``like``, and its zero point that of ``like`` shifted by 128.
    """
    scale, old_zero_point = like.inputs[1], like.inputs[2]
    shift = 128 if dtype == np.uint8 else -128
    array = np.asarray(constant_array(old_zero_point).astype(np.int32) + shift).astype(dtype)
    zero_point = editor.constant(f"{x.name}_{dtype}_zero_point", array)
    name = editor.free_name(f"{x.name}_{dtype}")
    node = ir.node(op_type, [x, scale, zero_point], name=name)
    node.outputs[0].name = name
    quantizes = op_type == "QuantizeLinear"
    stored = ir.DataType.from_numpy(dtype) if quantizes else ir.DataType.FLOAT
    describe(node.outputs[0], x, dtype=stored)
    return node
