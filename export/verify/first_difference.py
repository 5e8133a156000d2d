"""Which operator a TFLite file computes otherwise than ONNX Runtime does, on the same operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.bundle import Layout
from edgeconv.errors import EdgeconvError
from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import IntermediateOutputs, LiteRtRunner, relative
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.export.tflite import lower
from edgeconv.metrics import relative_error

Arrays = Sequence[npt.NDArray[Any]]

# Float32 rounding alone is a few millionths of an operator's range.
_NOTICED = 1e-4
# What an operator reads may be off by a tenth of what it writes, and is not the cause then.
_INHERITED = 0.1
_MOST_NODES = 2000


def first_difference(graph: ir.Model, samples: Sequence[Sample]) -> ir.Node | None:
    """Find the first node whose result differs, although its operands do not.

    All results are outputs of one file, in which operators are not fused: a difference that fusion
    makes is not found.

    Args:
        graph: The optimized float graph.
        samples: Inputs, of which any may show it.

    Returns:
        The node in ``graph``; None where there is none, or the graph is too large to keep all of
        its results.
    """
    nodes = [node for node in graph.graph if _is_seen(node.outputs[0])]
    if not nodes or len(nodes) > _MOST_NODES:
        return None
    names = [str(node.outputs[0].name) for node in nodes]
    try:
        litert = _on_litert(graph, names)
        exact = IntermediateOutputs(graph, names)
        for sample in samples:
            found = _compare(nodes, names, exact.run(sample), litert.run(list(sample)))
            if found is not None:
                return found
    except EdgeconvError:
        return None  # the file as it is was run; one with all results need not run
    return None


def _is_seen(value: ir.Value) -> bool:
    static = value.shape is not None and value.shape.is_static() and 0 not in value.shape.numpy()
    return bool(static) and value.dtype == ir.DataType.FLOAT


def _on_litert(graph: ir.Model, names: Sequence[str]) -> LiteRtRunner:
    """The graph on LiteRT, with the values of these names as its only outputs."""
    model = graph.clone()
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    model.graph.outputs[:] = [values[name] for name in names]
    lowered = lower(model, layout=Layout.NCHW)
    return LiteRtRunner(
        bytes(lowered.data),
        relative(lowered.inputs, input_infos(model)),
        relative(lowered.outputs, output_infos(model)),
    )


def _compare(
    nodes: Sequence[ir.Node], names: Sequence[str], exact: Arrays, got: Arrays
) -> ir.Node | None:
    off = {
        name: _difference(expected, found)
        for name, expected, found in zip(names, exact, got, strict=True)
    }
    for node, name in zip(nodes, names, strict=True):
        read = [off.get(str(value.name), 0.0) for value in node.inputs if value is not None]
        if off[name] > _NOTICED and max(read, default=0.0) <= _INHERITED * off[name]:
            return node
    return None


def _difference(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """The error over the range of what is finite; infinity where shape or other numbers differ."""
    if expected.shape != found.shape:
        return float("inf")
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True):
        return float("inf")
    return relative_error(expected[finite], found[finite])
