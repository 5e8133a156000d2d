"""Choose what to measure on: outputs, and batches whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import onnx_ir as ir

from edgeconv.export.data.samples import Batch


def float_outputs(model: ir.Model) -> list[str]:
    """The names of the graph's float outputs, which can be compared in dB."""
    return [str(value.name) for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT]


def held_out_batches(batches: Iterable[Batch], samples: int, size: int) -> list[Batch]:
    """Choose as many batches as have at most ``samples`` samples and ``size`` bytes; at least one.

    They are those with the lowest hash of their bytes, so that the order of the batches does not
    matter.
    """
    held: dict[bytes, Batch] = {}
    for batch in batches:
        digest = hashlib.sha256(b"".join(array.tobytes() for array in batch)).digest()
        held[digest] = batch
        each = batch[0].shape[0] if batch and batch[0].ndim else 1
        bytes_each = max(1, sum(array.nbytes for array in batch))
        if len(held) > max(1, min(samples // each, size // bytes_each)):
            del held[max(held)]
    return [held[digest] for digest in sorted(held)]
