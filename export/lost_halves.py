"""Weights that are too small for float16: zero there, or of so few bits that they are worth little.

A layer of such weights says nothing in a float16 file. Verification does not see that where other
layers, or the biases, make up most of the output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.errors import Notice
from edgeconv.export.traits import Trait, operators
from edgeconv.units import format_percent

# Numbers of full precision have 11 bits, and below 2^-14 one less with each power of two. Below
# this no more than half of them are left.
_LEAST, _ZERO = 2.0**-19, 2.0**-25
# Weights that decayed to nothing beside others of the same layer are no loss.
_MOST_LOST = 0.5
_LEAST_NOISE = 2.5e-5  # of the sum of squares, which is 46 dB; numbers of full precision have 70
_NAMED = 3
_READERS = operators(Trait.MULTIPLIES) | {"Gather"}


def lost_halves(graph: ir.Model) -> Notice | None:
    """Name the layers that lose most of their weights in float16; None if none does.

    Args:
        graph: The float network.
    """
    lost = {name: share for name, array in _weights(graph) if (share := lost_share(array))}
    if not lost:
        return None
    worst = sorted(lost, key=lambda name: -lost[name])
    named = ", ".join(f"{name} ({format_percent(lost[name])})" for name in worst[:_NAMED])
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return Notice(
        f"float16 loses most of {named}{more}: of weights below {_LEAST:.1e} it has half of the "
        f"bits or less, and those below {_ZERO:.1e} become zero",
        "scale these weights up and the results down in the network, or use --precision float32",
    )


def lost_share(weights: npt.NDArray[np.float32]) -> float:
    """The share of the weights that float16 has with half of its bits or less, or as zero.

    Weights that are zero do not count. It is 0 where the layer loses little by it.
    """
    size = np.abs(weights[weights != 0].astype(np.float64))
    if not size.size or not np.isfinite(size).all():
        return 0.0
    share = float(np.mean(size < _LEAST))
    rounded = size.clip(max=float(np.finfo(np.float16).max)).astype(np.float16).astype(np.float64)
    noise = np.square((size - rounded) / size.max()).sum() / np.square(size / size.max()).sum()
    return share if share > _MOST_LOST and noise > _LEAST_NOISE else 0.0


def _weights(graph: ir.Model) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """The matrices and kernels of the network's layers, by their names."""
    for name, value in graph.graph.initializers.items():
        if value.dtype is not ir.DataType.FLOAT or value.const_value is None:
            continue
        readers = {node.op_type for node in value.consumers()}
        if len(value.const_value.shape) > 1 and not _READERS.isdisjoint(readers):
            yield name, value.const_value.numpy()
