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
    outputs: Sequence[Outputs], graph: ir.Model, samples: Sequence[Sample], *, has_integers: bool
) -> None:
    """Check that the network itself computes numbers, or infinities in float files.

    Args:
        outputs: What it computes for each sample.
        graph: The graph that was captured from it.
        samples: The samples.
        has_integers: Whether quantized files are written.

    Raises:
        DataError: An output is NaN, or infinite where a quantized file is written.
    """
    for index, value in enumerate(graph.graph.outputs):
        arrays = [row[index] for row in outputs]
        own = f"the float network's own output {value.name!r} is"
        if wrong := _wrong(arrays, np.isnan, graph, samples):
            raise DataError(
                f"{own} NaN in {wrong}",
                hint="check its weights and the data; where synthetic data is not what it takes, "
                "such as negative numbers for a logarithm, give samples with --calibration or "
                "--example",
            )
        if has_integers and (wrong := _wrong(arrays, np.isinf, graph, samples)):
            raise DataError(
                f"{own} infinite in {wrong}; quantized files have no infinity",
                hint="fill masks with a finite number such as -1e4, or pass --precision float32",
            )


def _wrong(
    arrays: Sequence[Array],
    is_one: Callable[[Array], Array],
    graph: ir.Model,
    samples: Sequence[Sample],
) -> str:
    """How many elements of an output are not numbers, in words; empty where all are.

    Args:
        arrays: The output for each sample.
        is_one: Finds what is not a number.
        graph: The graph.
        samples: The samples.
    """
    if arrays[0].dtype.kind != "f":
        return ""
    counts = [int(is_one(array).sum()) for array in arrays]
    found = [place for place, count in enumerate(counts) if count]
    if not found:
        return ""
    first = found[0]
    some = "" if len(found) == len(arrays) else f" in {len(found)} of {len(arrays)} samples"
    beginning = _beginning(graph, samples[first], is_one)
    given = _infinite_inputs(graph, samples[first])
    return f"{counts[first]} of {arrays[first].size} elements{some}{beginning}{given}"


def _infinite_inputs(graph: ir.Model, sample: Sample) -> str:
    """Which inputs of a sample are infinite somewhere, in words."""
    pairs = zip(graph.graph.inputs, sample, strict=True)
    names = [repr(info.name) for info, array in pairs if _holds_infinity(array)]
    return f"; the sample holds infinity in {', '.join(names)}" if names else ""


def _holds_infinity(array: Array) -> bool:
    return array.dtype.kind == "f" and bool(np.isinf(array).any())


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
