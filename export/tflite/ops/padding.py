"""Pad in all its modes."""

from __future__ import annotations

import numpy as np

from edgeconv.export.tflite.builder import FLOAT, codes
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Order
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.ops.indexing import own_perm
from edgeconv.export.tflite.registry import Integer, operator

Pairs = list[tuple[int, int]]


@operator("Pad", integer=Integer.MOVES)
def pad(site: Site) -> None:
    """PAD with zeros, PADV2 with another number, GATHER where elements of the input come again."""
    pairs = _pairs(site)
    if any(min(pair) < 0 for pair in pairs):
        raise site.unsupported("it pads by negative amounts", "crop with Slice instead")
    if not any(max(pair) for pair in pairs):
        site.same(0)
        return
    perm = own_perm(site)
    x = site.tensor(0, perm)
    mode = site.string_attribute("mode", "constant")
    ordered = [pairs[axis] for axis in perm]
    if mode == "constant":
        value = site.demand_constant(2, "value") if site.has(2) else np.zeros((), FLOAT)
        amounts = site.builder.integers(np.array(ordered), f"{site.name}/paddings")
        if value.item() == 0:
            site.emit("PAD", [x, amounts], perm)
        else:
            site.emit("PADV2", [x, amounts, _filler(site, value.item(), x)], perm)
        return
    for axis, (before, behind) in enumerate(ordered):
        if before or behind:
            x = _repeated(site, x, axis, mode, before, behind)
    site.finish(x, Order.of(site.result_shape, perm))


def _pairs(site: Site) -> Pairs:
    """Elements before and behind, for each axis."""
    rank = len(site.shape(0))
    amounts = [int(number) for number in site.demand_constant(1, "pads")]
    axes = list(range(rank))
    if site.has(3):
        axes = [int(axis) % rank for axis in site.demand_constant(3, "axes")]
    half = len(amounts) // 2
    pairs = [(0, 0)] * rank
    for axis, before, behind in zip(axes, amounts[:half], amounts[half:], strict=True):
        pairs[axis] = before, behind
    return pairs


def _filler(site: Site, number: float, x: Tensor) -> Tensor:
    """The number around ``x``, in its type and scale."""
    array = np.array([number], x.dtype if not site.integer else FLOAT)
    if site.integer:
        array = codes(array, site.wanted)
    return site.builder.constant(array, f"{site.name}/value", x.quantization)


def _repeated(site: Site, x: Tensor, axis: int, mode: str, before: int, behind: int) -> Tensor:
    """``x`` with elements of its own before and behind, along one axis."""
    size = x.shape[axis]
    # ONNX's modes have numpy's names.
    taken = np.pad(np.arange(size), (before, behind), mode=mode)  # type: ignore[call-overload]
    shape = (*x.shape[:axis], len(taken), *x.shape[axis + 1 :])
    result = site.fresh(f"pad{axis}", shape, x.quantization)
    indices = site.builder.integers(taken, f"{result.name}/indices")
    site.builder.emit("GATHER", [x, indices], [result], {"axis": axis})
    return result
