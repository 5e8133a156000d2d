"""Operators that move elements, most of which only change how a value is read."""

from __future__ import annotations

from edgeconv.export.tflite.builder import Constant
from edgeconv.export.tflite.layout import Perm, Shape, channels_last, identity
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site


@operator("Reshape", "Flatten", "Squeeze", "Unsqueeze", integer=Integer.MOVES)
def reshape(site: Site) -> None:
    """Nothing: the order of the elements stays, and the shape is ONNX's affair."""
    site.same(0)


@operator("Transpose", integer=Integer.MOVES)
def transpose(site: Site) -> None:
    """Nothing: the same elements, read in another order."""
    shape = site.shape(0)
    perm = site.integers_attribute("perm", tuple(reversed(range(len(shape)))))
    held = site.held(0)
    assert not isinstance(held, Constant)
    order = held.order.transposed(shape, perm)
    if order is None:
        # The stored tensor mixes axes that are to part: put it into ONNX's order first.
        tensor = site.tensor(0)
        site.emit("TRANSPOSE", [tensor, site.builder.integers(perm, f"{site.name}/perm")])
        return
    site.same(0, order)


def common_perm(site: Site, shape: Shape) -> Perm:
    """The order of axes in which most of the node's inputs already are; all have ``shape``'s
    rank."""
    rank = len(shape)
    votes: dict[Perm, int] = {}
    for index in range(len(site.node.inputs)):
        held = site.held(index)
        if isinstance(held, Constant):
            continue
        perm = held.order.as_perm(site.shape(index))
        if perm is not None:
            votes[perm] = votes.get(perm, 0) + 1
    if not votes:
        return identity(rank)
    # Channels last where there is a tie: that is where the neighbors will want it.
    return max(votes, key=lambda perm: (votes[perm], perm == channels_last(rank)))


@operator("Concat", integer=Integer.MOVES)
def concat(site: Site) -> None:
    """CONCATENATION; in integers all inputs come to the scale of the result first."""
    perm = common_perm(site, site.result_shape)
    axis = site.integer_attribute("axis", 0) % len(perm)
    tensors = [site.tensor(index, perm) for index in range(len(site.node.inputs))]
    if site.integer:
        tensors = [site.builder.quantize(tensor, site.wanted) for tensor in tensors]
    site.emit("CONCATENATION", tensors, perm, {"axis": perm.index(axis)})


@operator("Cast", integer=Integer.MOVES)
def cast(site: Site) -> None:
    if site.value(0).dtype == site.result.dtype:
        site.same(0)
        return
    stored = site.stored(0)
    site.emit_stored("CAST", [stored.tensor], stored.tensor.shape, stored.order)
