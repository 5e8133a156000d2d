"""Constants that a network looks up rows in, as embeddings, and what 8 bits keep of them."""

from __future__ import annotations

from math import log10

import numpy as np
import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor, constant_array, describe
from edgeconv.export.passes.steps import NodePass, Step, run
from edgeconv.export.quantize.integer_forms import LOOKUPS, is_constant
from edgeconv.export.quantize.parameters import Float32, Range, activation_parameters

# A table has one scale, in both formats. Tables that training made keep more than 25 dB with it;
# below these 20 dB, in more than a tenth of the rows, one row is far larger than others: a mask
# beside weights, or a number for what is missing.
_LEAST_DB = 20.0
_SHARE_BELOW = 10


def coarse_tables(graph: ir.Graph) -> set[str]:
    """Name the lookups whose tables stay in float32, because one scale does not fit all rows.

    So do lists of numbers, which are small and may span many powers of ten, and tables with NaN or
    infinity.

    Args:
        graph: A float graph.
    """
    checked: dict[tuple[ir.Value, int], bool] = {}
    coarse = set()
    for node in graph:
        table = node.inputs[0] if node.op_type in LOOKUPS and node.domain == "" else None
        if table is None or not is_constant(table) or table.dtype != ir.DataType.FLOAT:
            continue
        place = table, node.attributes.get_int("axis", 0)
        if place not in checked:
            checked[place] = _keeps_rows(constant_array(table), place[1])
        if not checked[place]:
            coarse.add(str(node.name))
    return coarse


def _keeps_rows(table: Float32, axis: int) -> bool:
    """Whether nine tenths of the rows along ``axis`` keep enough in the scale of the whole."""
    if table.ndim < 2 or not table.size or not np.isfinite(table).all():
        return False
    step = activation_parameters(Range(float(table.min()), float(table.max()))).scale
    rows = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)
    power = np.mean(np.square(rows, dtype=np.float64), axis=1)
    filled = power[power > 0]
    if not filled.size:
        return True
    weak = float(np.percentile(filled, _SHARE_BELOW))
    return 10 * log10(weak / (step**2 / 12)) >= _LEAST_DB


def with_integer_tables(model: ir.Model) -> ir.Model:
    """A QDQ graph for ONNX Runtime, in which tables are looked up before they are dequantized.

    ONNX Runtime dequantizes a constant when it loads the file, and would hold the table in float32.
    The graph is a copy if anything has to change.
    """
    lookup = LookUpCodes()
    if not any(lookup.applies(node) for node in model.graph):
        return model
    return run(model.clone(), [Step(lookup, "the only one")])


class LookUpCodes(NodePass):
    """Moves the DequantizeLinear of a table behind what looks it up, which gives the same bits."""

    def applies(self, node: ir.Node) -> bool:
        """Apply to lookups in a dequantized constant of one scale."""
        table = node.inputs[0] if node.op_type in LOOKUPS and node.domain == "" else None
        dequantize = None if table is None else table.producer()
        if dequantize is None or dequantize.op_type != "DequantizeLinear":
            return False
        codes, scale = dequantize.inputs[:2]
        known = all(value is not None and is_constant(value) for value in dequantize.inputs)
        return known and codes is not None and scale is not None and not scale.shape

    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Look up the integers, and dequantize the result."""
        table, result = node.inputs[0], node.outputs[0]
        assert table is not None
        dequantize = table.producer()
        assert dequantize is not None
        codes = dequantize.inputs[0]
        assert codes is not None
        name = editor.free_name(f"{result.name}_looked_up")
        readers = list(result.uses())
        behind = ir.node("DequantizeLinear", [result, *dequantize.inputs[1:]], name=name)
        behind.outputs[0].name = name
        describe(behind.outputs[0], result)
        describe(result, result, dtype=codes.dtype)
        for use in readers:
            use.node.replace_input_with(use.idx, behind.outputs[0])
        node.replace_input_with(0, codes)
        editor.graph.insert_after(node, behind)
        if not table.uses():
            editor.graph.remove(dequantize, safe=True)
