"""Infinities that a network computes by design, as a mask of logits does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.errors import DataError, EdgeconvError
from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.export.tflite.builder import title

Array = npt.NDArray[Any]
Outputs = list[Array]


def without_shared_infinities(
    expected: Sequence[Outputs], got: Sequence[Outputs]
) -> tuple[list[Outputs], list[Outputs]]:
    """Both with zeros where both have the same infinity, which has no difference to itself.

    Args:
        expected: What the network computes for each sample.
        got: What a file computes, for as many samples, in the same shapes.
    """
    pairs = [
        [_without_shared(*pair) for pair in zip(ours, theirs, strict=True)]
        for ours, theirs in zip(expected, got, strict=True)
    ]
    return [[a for a, _ in row] for row in pairs], [[b for _, b in row] for row in pairs]


def _without_shared(expected: Array, got: Array) -> tuple[Array, Array]:
    if expected.dtype.kind != "f" or not (same := np.isinf(expected) & (expected == got)).any():
        return expected, got
    zero = expected.dtype.type(0)
    return np.where(same, zero, expected), np.where(same, zero, got)


def refuse_non_finite_outputs(
    outputs: Outputs, graph: ir.Model, sample: Sample, *, has_integers: bool
) -> None:
    """Check that the network itself computes numbers, or infinities in float files.

    Args:
        outputs: What it computes for a sample.
        graph: The graph that was captured from it.
        sample: The sample.
        has_integers: Whether quantized files are written.

    Raises:
        DataError: An output is NaN, or infinite where a quantized file is written.
    """
    for value, array in zip(graph.graph.outputs, outputs, strict=True):
        name = value.name
        if array.dtype.kind != "f":
            continue
        if wrong := int(np.isnan(array).sum()):
            raise DataError(
                f"the float network's own output {name!r} is NaN in {wrong} of {array.size} "
                f"elements{_beginning(graph, sample, np.isnan)}",
                hint="check its weights and the data; where synthetic data is not what it takes, "
                "such as negative numbers for a logarithm, give samples with --calibration or "
                "--example",
            )
        if has_integers and (wrong := int(np.isinf(array).sum())):
            raise DataError(
                f"the float network's own output {name!r} is infinite in {wrong} of {array.size} "
                f"elements{_beginning(graph, sample, np.isinf)}; quantized files have no infinity",
                hint="fill masks with a finite number such as -1e4, or pass --precision float32",
            )


def _beginning(graph: ir.Model, sample: Sample, is_one: Callable[[Array], Array]) -> str:
    """The first node with such a result, in words; nothing where the graph alone has none."""
    nodes = [node for node in graph.graph if node.outputs[0].dtype == ir.DataType.FLOAT]
    names = [str(node.outputs[0].name) for node in nodes]
    try:
        results = IntermediateOutputs(graph, names).run(sample)
    except EdgeconvError:
        return ""  # the network itself ran: it is refused for what it gave
    for node, result in zip(nodes, results, strict=True):
        if is_one(result).any():
            return f", from {title(node)} on"
    return ""
