"""Take random samples of what a layer reads: the inputs of single outputs, as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.layers import constant
from edgeconv.export.runtimes import IntermediateOutputs

Float32 = npt.NDArray[np.float32]


def can_be_sampled(node: ir.Node) -> bool:
    """Whether the inputs of an output can be taken.

    A ConvTranspose scatters its inputs, the padding by auto_pad depends on the input's shape, and
    several matrices of a MatMul may share rows.
    """
    if node.op_type == "MatMul" and constant(node, 1).ndim > 2:
        return False
    return node.op_type != "ConvTranspose" and (
        node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def sample_patches(
    model: ir.Model, nodes: Sequence[ir.Node], batches: Iterable[Batch], total: int, rows: int
) -> list[Float32]:
    """Sample what layers of the float graph read, at random output positions, always the same.

    Args:
        model: The float graph.
        nodes: The layers.
        batches: The data.
        total: The number of batches; each gives its share of rows.
        rows: How many rows to take at the most.

    Returns:
        For each layer, [rows, groups, inputs per group * taps].
    """
    activations = IntermediateOutputs(
        model, [str(node.inputs[0].name) for node in nodes if node.inputs[0]]
    )
    generator = np.random.default_rng(0)
    share = max(1, rows // max(total, 1))
    found: list[list[Float32]] = [[] for _ in nodes]
    for arrays in activations.run_each(batches):
        for index, array in enumerate(arrays):
            if sum(map(len, found[index])) < rows:
                found[index].append(patches_of(nodes[index], array, share, generator))
    return [np.concatenate(parts)[:rows] for parts in found]


def patches_of(node: ir.Node, x: Float32, count: int, generator: np.random.Generator) -> Float32:
    """Take what so many outputs of a layer read, at random positions of what it reads.

    Returns:
        [count, groups, inputs per group * taps], or fewer rows where a product has fewer.
    """
    if node.op_type == "Conv":
        return _windows(x, _Window.of(node), count, generator)
    flat = x.reshape(-1, 1, x.shape[-1])
    return flat[generator.permutation(len(flat))[:count]]


@dataclass(frozen=True)
class _Window:
    """The geometry of a convolution, with one number per spatial dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, node: ir.Node) -> _Window:
        kernel = constant(node, 1).shape[2:]
        ones, attributes = (1,) * len(kernel), node.attributes
        pads = tuple(attributes.get_ints("pads", (0,) * 2 * len(kernel)))
        return cls(
            kernel,
            tuple(attributes.get_ints("strides", ones)),
            tuple(attributes.get_ints("dilations", ones)),
            pads[: len(kernel)],
            pads[len(kernel) :],
            attributes.get_int("group", 1),
        )


def _windows(x: Float32, window: _Window, count: int, generator: np.random.Generator) -> Float32:
    """Take ``count`` windows of x, [N, C, spatial…], as [count, groups, C / groups * taps]."""
    pads = zip(window.before, window.after, strict=True)
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    rank = len(window.kernel)
    picks = [generator.integers(0, len(x), count)]
    for axis in range(rank):
        reach = (window.kernel[axis] - 1) * window.dilations[axis] + 1
        positions = (padded.shape[2 + axis] - reach) // window.strides[axis] + 1
        start = generator.integers(0, positions, count) * window.strides[axis]
        taps = start[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        shape = [count, *(1 for _ in range(rank))]
        shape[1 + axis] = -1
        picks.append(taps.reshape(shape))
    samples = picks[0].reshape(count, *(1 for _ in range(rank)))
    # Indices around a slice come first: [count, kernel…, C].
    where: tuple[Any, ...] = (samples, slice(None), *picks[1:])
    chosen = np.moveaxis(padded[where], -1, 1)
    return np.ascontiguousarray(chosen).reshape(count, window.groups, -1)
