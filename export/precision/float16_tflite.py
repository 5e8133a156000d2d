"""Constants in half precision, in both formats."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeconv.errors import DataError
from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.graph import Graph, Operator, Tensor
from edgeconv.export.traits import Trait, operators

HALF = np.dtype("float16")
LARGEST = float(np.finfo(HALF).max)
_MULTIPLYING = {
    *operators(Trait.MULTIPLIES),
    *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "CONV_3D"),
    *("BATCH_MATMUL", "MUL", "DIV", "PRELU"),
}
# A smaller constant takes less than the operator and the tensor that half precision adds.
LEAST_ELEMENTS = 64


def to_half(
    array: npt.NDArray[Any], name: str, readers: Collection[str]
) -> npt.NDArray[np.float16]:
    """Round ``array`` to float16, and limit it to what float16 holds.

    An infinity stays one. A bound (of a Clip, of an attention's mask) is only limited; a number
    that the operators ``readers`` multiply by is refused where it does not fit.

    Raises:
        DataError: a weight is beyond 65504.
    """
    finite = np.isfinite(array)
    beyond = finite & (np.abs(array) > LARGEST)
    if beyond.any() and not _MULTIPLYING.isdisjoint(readers):
        raise DataError(
            f"the weight {name!r} reaches {np.abs(array[finite]).max():.3g}, beyond the largest "
            f"float16 of {LARGEST:.0f}",
            hint="use --precision float32",
        )
    limited = np.where(finite, np.clip(array, -LARGEST, LARGEST), array)
    return np.asarray(limited, HALF)


# What LiteRT reads: compute in half precision, and sum in it too, where the core can.
REDUCED_PRECISION = {"reduced_precision_support": b"fp16accfp16"}


def halve_constants(
    graph: Graph, *, half_arithmetic: bool = False, only_exact: bool = False
) -> tuple[()]:
    """Store the float constants of a TFLite graph as float16, each with a DEQUANTIZE behind it.

    LiteRT computes these once, when it loads the file, and XNNPACK takes the constants in their
    place; the network then runs in float32 with weights rounded to float16.

    Args:
        graph: The graph, changed in place.
        half_arithmetic: Whether the file also allows runtimes to compute in half precision. Cores
            without that run it in float32.
        only_exact: Whether to store only numbers as float16 that it has.
    """
    if half_arithmetic:
        graph.metadata |= REDUCED_PRECISION
    readers: dict[int, set[str]] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            readers.setdefault(id(tensor), set()).add(operator.name)
    made: dict[int, Tensor] = {}
    dequantizes: list[Operator] = []
    for operator in graph.operators:
        inputs = list(operator.inputs)
        for position, tensor in enumerate(inputs):
            if tensor.data is None or tensor.dtype != FLOAT or tensor.data.size < LEAST_ELEMENTS:
                continue
            if only_exact and not np.array_equal(tensor.data.astype(HALF), tensor.data):
                continue
            if id(tensor) not in made:
                data = to_half(tensor.data, tensor.name, readers[id(tensor)])
                stored = Tensor(f"{tensor.name}/half", tensor.shape, HALF, data)
                made[id(tensor)] = Tensor(tensor.name, tensor.shape, FLOAT)
                dequantizes.append(Operator("DEQUANTIZE", [stored], [made[id(tensor)]]))
            inputs[position] = made[id(tensor)]
        operator.inputs = inputs
    graph.operators[:0] = dequantizes
    return ()
