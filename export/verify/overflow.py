"""Numbers that a type does not hold: what comes of them is undefined, and runtimes differ.

A cast from float to an integer that is too small gives what the processor's instruction happens to
give (C leaves it open, and PyTorch and ONNX with it). A float64 beyond float32 becomes infinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Sample
from edgeconv.export.graph_edit import known_array
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.export.tflite.builder import title

# What becomes infinite here was too large. A logarithm or a quotient is infinite at zero.
_GROWING = {"Add", "Conv", "Exp", "Gemm", "MatMul", "Mul", "ReduceProd", "ReduceSum", "Sub", "Sum"}


@dataclass(frozen=True)
class Overflow:
    """Where numbers are lost.

    Attributes:
        place: The node, as messages name it, and what happens there.
        remedy: What to do about it.
    """

    place: str
    remedy: str


def find_overflow(graph: ir.Model, samples: Sequence[Sample]) -> Overflow | None:
    """Find the first node that loses numbers beyond its type, on any of the samples.

    Args:
        graph: The optimized float graph.
        samples: Its inputs.
    """
    nodes = [node for node in graph.graph if node.op_type != "Constant"]
    names = sorted(
        {
            str(value.name)
            for node in nodes
            for value in (*node.inputs, *node.outputs)
            if value is not None and value.dtype == ir.DataType.FLOAT and known_array(value) is None
        }
    )
    if not names:
        return None
    runner = IntermediateOutputs(graph, names)
    for sample in samples:
        arrays = dict(zip(names, runner.run(sample), strict=True))
        for node in nodes:
            found = _lost(node, arrays)
            if found is not None:
                return found
    return None


def _lost(node: ir.Node, arrays: dict[str, npt.NDArray[Any]]) -> Overflow | None:
    def array_of(value: ir.Value) -> npt.NDArray[Any] | None:
        known = known_array(value)
        return arrays.get(str(value.name)) if known is None else known

    given = [array_of(value) for value in node.inputs if value is not None]
    floats = [each for each in given if each is not None and each.dtype == np.float32]
    result = node.outputs[0]
    if node.op_type == "Cast" and result.dtype is not None and result.dtype.is_integer():
        limits = np.iinfo(result.dtype.numpy())
        if any(_beyond(each, float(limits.min), float(limits.max)) for each in floats):
            return Overflow(
                f"{title(node)} casts numbers that {limits.dtype} does not hold, and what comes of "
                "them is undefined",
                "clamp them in front of the cast",
            )
        return None
    made = arrays.get(str(result.name))
    if made is None or np.isfinite(made).all():
        return None
    infinite = [value for value in node.inputs if value is not None and _is_infinite(value)]
    if infinite:
        return Overflow(
            f"{title(node)} reads a constant that is infinite in float32",
            "keep constants below 3.4e38, the largest number of float32",
        )
    if node.op_type in _GROWING and all(np.isfinite(each).all() for each in floats):
        return Overflow(
            f"{title(node)} exceeds 3.4e38, the largest number of float32",
            "scale the numbers there, so that float32 holds them",
        )
    return None


def _is_infinite(value: ir.Value) -> bool:
    known = known_array(value)
    return known is not None and known.dtype == np.float32 and bool(np.isinf(known).any())


def _beyond(array: npt.NDArray[Any], least: float, most: float) -> bool:
    whole = np.trunc(array.astype(np.float64))
    return bool(((whole < least) | (whole > most) | np.isnan(whole)).any())
