"""Operators that move elements, most of which only change how a value is read."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.export.tflite.builder import Stored
from edgeconv.export.tflite.channel_order import shuffled_order
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.graph import STORED, Options, Tensor
from edgeconv.export.tflite.layout import (
    CHANNELS_LAST,
    MOST_MOVED,
    Order,
    Perm,
    Shape,
    channels_last,
    identity,
    permuted,
)
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

DELEGATED_PARTS = 5


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze", integer=Integer.MOVES)
def reshape(ctx: NodeLowering) -> None:
    """No operator: the elements keep their order."""
    ctx.same(0)


@operator("Transpose", integer=Integer.MOVES)
def transpose(ctx: NodeLowering) -> None:
    """No operator: the same elements, read in another order."""
    shape = ctx.shape(0)
    backward = tuple(reversed(range(len(shape))))
    _transposed(ctx, shape, tuple(ctx.attributes.get_ints("perm", backward)))


def _transposed(ctx: NodeLowering, shape: Shape, perm: Perm) -> None:
    """The result is the first input, seen in ``shape``, transposed by ``perm``."""
    held = ctx.held(0)
    assert isinstance(held, Stored)
    order = held.order.transposed(shape, perm)
    if order is None or len(order.dims) > MOST_MOVED:
        # The stored tensor mixes axes that are to part, or transpositions pile up to more axes than
        # one can move: put it into ONNX's order first.
        plain = Order.of(shape, identity(len(shape)))
        held = Stored(ctx.builder.arranged(held, plain, shape), plain)
        order = plain.transposed(shape, perm)
        assert order is not None
    ctx.builder.bind(ctx.result, Stored(held.tensor, order))


@operator("Concat", integer=Integer.MOVES)
def concat(ctx: NodeLowering) -> None:
    """CONCATENATION of at most five parts, because XNNPACK takes no more (``WIDE_CONCATENATION``).

    In integers all inputs get the scale of the result first.
    """
    perm = _common_perm(ctx)
    axis = ctx.attributes.get_int("axis", 0) % len(perm)
    given = [index for index in range(len(ctx.node.inputs)) if 0 not in ctx.shape(index)]
    if len(given) == 1 and not ctx.integer:
        ctx.same(given[0])
        return
    tensors = [ctx.tensor(index, perm) for index in given]
    if ctx.integer:
        tensors = [ctx.builder.quantize(tensor, ctx.wanted) for tensor in tensors]
    most = len(tensors) if ctx.takes(Form.WIDE_CONCATENATION) else DELEGATED_PARTS
    while len(tensors) > most:
        tensors = _with_smallest_joined(ctx, tensors, perm.index(axis))
    ctx.emit("CONCATENATION", tensors, perm, {"axis": perm.index(axis)})


def _with_smallest_joined(ctx: NodeLowering, tensors: Sequence[Tensor], axis: int) -> list[Tensor]:
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
        f"{ctx.name}/joined{len(tensors)}",
        tuple(shape),
        parts[0].dtype,
        None,
        parts[0].quantization,
    )
    ctx.builder.emit("CONCATENATION", parts, [joined], {"axis": axis})
    return [*tensors[:start], joined, *tensors[start + width :]]


def _common_perm(ctx: NodeLowering) -> Perm:
    """The order of axes in which most of the node's inputs already are."""
    rank = len(ctx.result_shape)
    votes: dict[Perm, int] = {}
    for index in range(len(ctx.node.inputs)):
        held = ctx.held(index)
        if isinstance(held, Stored):
            perm = held.order.nearest_perm(ctx.shape(index))
            votes[perm] = votes.get(perm, 0) + 1
    # Channels last where there is a tie: that is where the neighbors will want it.
    return max(
        votes,
        key=lambda perm: (votes[perm], perm == channels_last(rank)),
        default=identity(rank),
    )


@operator("Expand", integer=Integer.MOVES)
def expand(ctx: NodeLowering) -> None:
    """BROADCAST_TO, in the order in which the input is."""
    shape = ctx.result_shape
    rank = len(shape)
    own = (1,) * (rank - len(ctx.shape(0))) + ctx.shape(0)
    if own == shape:
        ctx.same(0)
        return
    stored = ctx.stored(0)
    perm = stored.order.nearest_perm(own)
    x = ctx.builder.placed(stored, own, perm)
    wanted = ctx.builder.integers(permuted(shape, perm), f"{ctx.name}/shape")
    ctx.emit("BROADCAST_TO", [x, wanted], perm)


@operator("Tile", integer=Integer.MOVES)
def tile(ctx: NodeLowering) -> None:
    """TILE."""
    repeats = [int(count) for count in ctx.demand_constant(1, "repeats")]
    perm = ctx.own_perm()
    multiples = ctx.builder.integers(permuted(repeats, perm), f"{ctx.name}/repeats")
    ctx.emit("TILE", [ctx.tensor(0, perm), multiples], perm)


@operator("SpaceToDepth", integer=Integer.MOVES)
def space_to_depth(ctx: NodeLowering) -> None:
    """SPACE_TO_DEPTH."""
    if ctx.attributes.get_string("mode", "DCR") == "DCR":
        _blocks(ctx, "SPACE_TO_DEPTH")
        return
    n, c, h, w = ctx.shape(0)
    size = ctx.attributes.get_int("blocksize", 1)
    _transposed(ctx, (n, c, h // size, size, w // size, size), (0, 1, 3, 5, 2, 4))


@operator("DepthToSpace", integer=Integer.MOVES)
def depth_to_space(ctx: NodeLowering) -> None:
    """DEPTH_TO_SPACE, whose channels have the block before the depth (mode DCR).

    With the depth first (mode CRD), the convolution in front writes its channels in that order;
    otherwise it is a reshape and a transpose of the order only.
    """
    if ctx.attributes.get_string("mode", "DCR") == "DCR":
        _blocks(ctx, "DEPTH_TO_SPACE")
        return
    n, c, h, w = ctx.shape(0)
    size = ctx.attributes.get_int("blocksize", 1)
    stored = ctx.stored(0)
    if stored.order == shuffled_order((n, c, h, w), size):
        x = ctx.builder.reshape(stored.tensor, (n, h, w, c))
        ctx.emit("DEPTH_TO_SPACE", [x], CHANNELS_LAST, {"blockSize": size})
        return
    _transposed(ctx, (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3))


def _blocks(ctx: NodeLowering, name: str) -> None:
    options: Options = {"blockSize": ctx.attributes.get_int("blocksize", 1)}
    ctx.emit(name, [ctx.tensor(0, CHANNELS_LAST)], CHANNELS_LAST, options)


@operator("Cast", "CastLike")
def cast(ctx: NodeLowering) -> None:
    """CAST."""
    if ctx.value(0).dtype == ctx.result.dtype:
        ctx.same(0)
        return
    source = ctx.stored(0)
    x = source.tensor
    options: Options = {"inDataType": STORED[x.dtype], "outDataType": STORED[ctx.dtype]}
    ctx.emit_stored("CAST", [x], x.shape, source.order, options)
