"""Reductions over axes."""

from __future__ import annotations

from edgeconv.export.tflite.layout import Order, channels_last, identity, permuted
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site


@operator("GlobalAveragePool", integer=Integer.COMPUTES)
def global_average_pool(site: Site) -> None:
    """MEAN over the spatial axes, which XNNPACK takes in int8 where it leaves an average pool."""
    reduce(site, "MEAN", tuple(range(2, len(site.shape(0)))))


@operator("GlobalMaxPool", integer=Integer.MOVES)
def global_max_pool(site: Site) -> None:
    reduce(site, "REDUCE_MAX", tuple(range(2, len(site.shape(0)))))


@operator("ReduceMean", integer=Integer.COMPUTES)
def reduce_mean(site: Site) -> None:
    reduce(site, "MEAN", reduced_axes(site))


def reduced_axes(site: Site) -> tuple[int, ...]:
    """The axes of a reduction, from its second input (an attribute before opset 18)."""
    rank = len(site.shape(0))
    if site.has(1):
        axes = tuple(int(axis) for axis in site.demand_constant(1, "axes").reshape(-1))
    else:
        axes = site.integers_attribute("axes", ())
    if not axes and not site.integer_attribute("noop_with_empty_axes", 0):
        axes = tuple(range(rank))
    return tuple(sorted(axis % rank for axis in axes))


def reduce(site: Site, operator_name: str, axes: tuple[int, ...]) -> None:
    """Emit a reduction. It keeps the reduced axes: to drop them is a reshape, and costs nothing.

    The input stays in the order it is in, if its axes can be told apart there.
    """
    if not axes:
        site.same(0)
        return
    shape = site.shape(0)
    stored = site.stored(0)
    perm = stored.order.as_perm(shape) or identity(len(shape))
    if perm == identity(len(shape)) and stored.order == Order.of(shape, channels_last(len(shape))):
        perm = channels_last(len(shape))
    x = site.builder.placed(stored, shape, perm)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    along = site.builder.integers(sorted(perm.index(axis) for axis in axes), f"{site.name}/axes")
    site.emit_stored(
        operator_name,
        [x, along],
        permuted(kept, perm),
        Order.of(kept, perm),
        {"keepDims": True},
    )
