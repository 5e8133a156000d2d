"""Numbers below the smallest normal one, which some runtimes compute as zero.

XNNPACK, which LiteRT runs float operators on, lets the processor take a subnormal number, one below
2^-126 = 1.18e-38, as zero; so do the vector units of 32-bit ARM. PyTorch and ONNX Runtime keep it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeconv.export.data.samples import Sample
from edgeconv.export.graph_edit import known_array
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.export.tflite.builder import title
from edgeconv.export.verify.rounding import EPSILON, largest_error, magnitude

SMALLEST = float(np.finfo(np.float32).tiny)

# Units in the last place of the largest output: zeros that change no more explain nothing.
_NOTICED = 4


def decided_by_subnormals(graph: ir.Model, samples: Sequence[Sample]) -> str:
    """Find where the outputs of a graph depend on numbers below :data:`SMALLEST`.

    Args:
        graph: The optimized float graph.
        samples: Inputs, of which any may show it.

    Returns:
        The first node that reads or computes such a number, as messages name it, on a sample whose
        outputs change when they are taken as zero; nothing where there is none.
    """
    results = [str(value.name) for value in graph.graph.outputs]
    runner = IntermediateOutputs(graph, results)
    for sample in samples:
        kept = runner.run(sample)
        with _as_zero():
            flushed = runner.run(sample)
        if any(map(_differ, kept, flushed)):
            return _first_place(graph, sample)
    return ""


@contextmanager
def _as_zero() -> Iterator[None]:
    """Within it, this thread takes subnormal numbers as zero; ONNX Runtime runs on it."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _differ(kept: npt.NDArray[Any], flushed: npt.NDArray[Any]) -> bool:
    if kept.shape != flushed.shape or kept.dtype.kind != "f":
        return not np.array_equal(kept, flushed)
    return largest_error(flushed, kept) > _NOTICED * EPSILON * magnitude(kept)


def _first_place(graph: ir.Model, sample: Sample) -> str:
    nodes = [
        (node, value)
        for node in graph.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT
    ]
    arrays = IntermediateOutputs(graph, [str(value.name) for _, value in nodes]).run(sample)
    for (node, _), array in zip(nodes, arrays, strict=True):
        constants = [known_array(value) for value in node.inputs if value is not None]
        if any(_has_subnormals(each) for each in (array, *constants) if each is not None):
            return title(node)
    return ""


def _has_subnormals(array: npt.NDArray[Any]) -> bool:
    sizes = np.abs(array)
    return array.dtype == np.float32 and bool(((sizes > 0) & (sizes < SMALLEST)).any())
