"""Channels of an output that int8 loses beside others, whose weights are far larger."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.errors import Notice
from edgeconv.export.joined import far_apart, moved, trace
from edgeconv.export.quantize.layers import constant, grouped, is_weighted
from edgeconv.metrics import POOR_SQNR_DB, Sqnr

logger = logging.getLogger(__name__)

Array = npt.NDArray[Any]

_NAMED = 8


def warn_of_small_channels(
    path: str, graph: ir.Model, names: Sequence[str], pairs: Sequence[tuple[Array, Array]]
) -> None:
    """Warn of channels of which little is kept, because all channels of a layer share a scale.

    Only where the weights say that they are in another unit than others: of a thousand classes some
    are close to zero by themselves.

    Args:
        path: A quantized file.
        graph: The float graph.
        names: The names of its outputs.
        pairs: For each output, what the network computes and what the file does, one sample behind
            the other.
    """
    outputs = list(graph.graph.outputs)
    if len(outputs) != len(pairs):  # the files split them
        return
    for output, name, (expected, got) in zip(outputs, names, pairs, strict=True):
        if expected.shape != got.shape:
            continue
        lost = []
        for channel, where in _small_channels(output, graph.graph.opset_imports[""]):
            ratio = Sqnr.between(expected[..., where], got[..., where])
            if ratio.signal and ratio.db < POOR_SQNR_DB:
                lost.append(channel)
        if not lost:
            continue
        listed = ", ".join(map(str, lost[:_NAMED]))
        more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        logger.warning(
            Notice(
                f"{path} keeps little of channel{'s' * (len(lost) > 1)} {listed}{more} of the "
                f"output {name!r}: SQNR below {POOR_SQNR_DB:g} dB; their weights are far smaller "
                "than those of the others, with which they share a scale",
                "let the network put out what has another unit by itself, or keep its last layer "
                "in float (--keep-float)",
            )
        )


def _small_channels(output: ir.Value, opset: int) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """The channels of the last layer with far smaller weights, and where they are in the output."""
    static = output.shape is not None and output.shape.is_static()
    if output.dtype != ir.DataType.FLOAT or not static:
        return
    leaf, *others = trace(output, opset)[1]
    node = leaf.producer()
    if others or node is None or not is_weighted(node) or leaf.shape is None:
        return
    weight = grouped(node, constant(node, 1))
    if node.op_type == "MatMul" and len(weight) > 1:  # a matrix for each batch
        return
    sizes = np.linalg.norm(weight.astype(np.float64), axis=(2, 3)).reshape(-1)
    shape = [1] * len(leaf.shape)
    shape[1 if node.op_type.startswith("Conv") else -1] = len(sizes)
    places = (np.arange(len(sizes)), sizes)
    each = [np.broadcast_to(row.reshape(shape), leaf.shape.numpy()) for row in places]
    channels = moved(output, opset, each[0], scaled=False)
    groups = far_apart(moved(output, opset, each[1], scaled=True).reshape(-1))
    small = groups.reshape(channels.shape) < groups.max()
    for channel in np.unique(channels[small]).tolist():
        yield int(channel), small & (channels == channel)
