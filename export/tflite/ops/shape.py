"""Operators that move elements, most of which only change how a value is read."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.export.tflite.builder import Stored
from edgeconv.export.tflite.channel_order import shuffled_order
from edgeconv.export.tflite.graph import STORED, Options, Tensor
from edgeconv.export.tflite.layout import (
    CHANNELS_LAST,
    Order,
    Perm,
    Shape,
    channels_last,
    identity,
    permuted,
)
from edgeconv.export.tflite.node_lowering import Site
from edgeconv.export.tflite.ops.indexing import own_perm
from edgeconv.export.tflite.registry import Integer, operator

DELEGATED_PARTS = 5


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze", integer=Integer.MOVES)
def reshape(site: Site) -> None:
    """Nothing: the order of the elements stays, and the shape is ONNX's affair."""
    site.same(0)


@operator("Transpose", integer=Integer.MOVES)
def transpose(site: Site) -> None:
    """Nothing: the same elements, read in another order."""
    shape = site.shape(0)
    _transposed(site, shape, site.integers_attribute("perm", tuple(reversed(range(len(shape))))))


def _transposed(site: Site, shape: Shape, perm: Perm) -> None:
    """The result is the first input, seen in ``shape``, transposed by ``perm``."""
    held = site.held(0)
    assert isinstance(held, Stored)
    order = held.order.transposed(shape, perm)
    if order is None:
        # The stored tensor mixes axes that are to part: put it into ONNX's order first.
        plain = Order.of(shape, identity(len(shape)))
        held = Stored(site.builder.arranged(held, plain, shape), plain)
        order = plain.transposed(shape, perm)
        assert order is not None
    site.builder.bind(site.result, Stored(held.tensor, order))


@operator("Concat", integer=Integer.MOVES)
def concat(site: Site) -> None:
    """CONCATENATION, of five parts at most: XNNPACK takes no more; in integers all inputs come to
    the scale of the result first."""
    perm = _common_perm(site)
    axis = site.integer_attribute("axis", 0) % len(perm)
    given = [index for index in range(len(site.node.inputs)) if 0 not in site.shape(index)]
    if len(given) == 1 and not site.integer:
        site.same(given[0])
        return
    tensors = [site.tensor(index, perm) for index in given]
    if site.integer:
        tensors = [site.builder.quantize(tensor, site.wanted) for tensor in tensors]
    while len(tensors) > DELEGATED_PARTS:
        tensors = _with_smallest_joined(site, tensors, perm.index(axis))
    site.emit("CONCATENATION", tensors, perm, {"axis": perm.index(axis)})


def _with_smallest_joined(site: Site, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
    """Tensors, of which those neighbors became one that are the least to copy."""
    width = min(DELEGATED_PARTS, len(tensors) - DELEGATED_PARTS + 1)
    sizes = [tensor.shape[axis] for tensor in tensors]
    start = min(
        range(len(tensors) - width + 1), key=lambda index: sum(sizes[index : index + width])
    )
    parts = tensors[start : start + width]
    shape = list(parts[0].shape)
    shape[axis] = sum(sizes[start : start + width])
    joined = Tensor(
        f"{site.name}/joined{len(tensors)}",
        tuple(shape),
        parts[0].dtype,
        None,
        parts[0].quantization,
    )
    site.builder.emit("CONCATENATION", parts, [joined], {"axis": axis})
    return [*tensors[:start], joined, *tensors[start + width :]]


def _common_perm(site: Site) -> Perm:
    """The order of axes in which most of the node's inputs already are."""
    rank = len(site.result_shape)
    votes: dict[Perm, int] = {}
    for index in range(len(site.node.inputs)):
        held = site.held(index)
        if isinstance(held, Stored):
            perm = held.order.nearest_perm(site.shape(index))
            votes[perm] = votes.get(perm, 0) + 1
    # Channels last where there is a tie: that is where the neighbors will want it.
    return max(
        votes,
        key=lambda perm: (votes[perm], perm == channels_last(rank)),
        default=identity(rank),
    )


@operator("Expand", integer=Integer.MOVES)
def expand(site: Site) -> None:
    """BROADCAST_TO, in the order in which the input is."""
    shape = site.result_shape
    rank = len(shape)
    own = (1,) * (rank - len(site.shape(0))) + site.shape(0)
    if own == shape:
        site.same(0)
        return
    stored = site.stored(0)
    perm = stored.order.nearest_perm(own)
    x = site.builder.placed(stored, own, perm)
    wanted = site.builder.integers(permuted(shape, perm), f"{site.name}/shape")
    site.emit("BROADCAST_TO", [x, wanted], perm)


@operator("Tile", integer=Integer.MOVES)
def tile(site: Site) -> None:
    repeats = [int(count) for count in site.demand_constant(1, "repeats")]
    perm = own_perm(site)
    multiples = site.builder.integers(permuted(repeats, perm), f"{site.name}/repeats")
    site.emit("TILE", [site.tensor(0, perm), multiples], perm)


@operator("SpaceToDepth", integer=Integer.MOVES)
def space_to_depth(site: Site) -> None:
    """SPACE_TO_DEPTH, as :func:`depth_to_space` the other way."""
    if site.string_attribute("mode", "DCR") == "DCR":
        _blocks(site, "SPACE_TO_DEPTH")
        return
    n, c, h, w = site.shape(0)
    size = site.integer_attribute("blocksize", 1)
    _transposed(site, (n, c, h // size, size, w // size, size), (0, 1, 3, 5, 2, 4))


@operator("DepthToSpace", integer=Integer.MOVES)
def depth_to_space(site: Site) -> None:
    """DEPTH_TO_SPACE, where the block comes before the depth in the channels (mode DCR), or was
    put there by the convolution in front. With the depth first (mode CRD) it is a reshape and a
    transpose, and those are read, not written."""
    if site.string_attribute("mode", "DCR") == "DCR":
        _blocks(site, "DEPTH_TO_SPACE")
        return
    n, c, h, w = site.shape(0)
    size = site.integer_attribute("blocksize", 1)
    stored = site.stored(0)
    if stored.order == shuffled_order((n, c, h, w), size):
        x = site.builder.reshape(stored.tensor, (n, h, w, c))
        site.emit("DEPTH_TO_SPACE", [x], CHANNELS_LAST, {"blockSize": size})
        return
    _transposed(site, (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3))


def _blocks(site: Site, name: str) -> None:
    options: Options = {"blockSize": site.integer_attribute("blocksize", 1)}
    site.emit(name, [site.tensor(0, CHANNELS_LAST)], CHANNELS_LAST, options)


@operator("Cast", "CastLike")
def cast(site: Site) -> None:
    if site.value(0).dtype == site.result.dtype:
        site.same(0)
        return
    source = site.stored(0)
    x = source.tensor
    options: Options = {"inDataType": STORED[x.dtype], "outDataType": STORED[site.dtype]}
    site.emit_stored("CAST", [x], x.shape, source.order, options)
