"""Find the sums that cost no more in float, because what is around them is in float.

A transformer adds the result of every block to a stream that only layer normalizations read, which
are computed in float. In integers, each of these sums would round the whole stream, for readers
that take it back to float at once; and its one scale would serve class tokens beside patch tokens
a hundred times as large. In float nothing is rounded, and as many elements are converted: the
result of each block, in the place of the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from math import prod

import onnx_ir as ir

from edgeconv.export.traits import Trait, operators

# What costs about as much in float as in integers: on ARM an int8 sum has to rescale both operands.
_CHEAP = {"Add", "Sub", "Mul"}
# Moves that copy little beside that. Those that reorder whole maps (Transpose, Expand) would move
# four times as many bytes.
_MOVES = operators(Trait.VIEWS) | {"Concat", "Gather", "Slice", "Split"}

# Each operator of a region costs no more in float than in integers beside the others in float. All
# of them together may: at the end of a stream only one token is read. Half as many conversions
# again cost less than the sums gain, and what lies between integers alone needs none there.
_MOST_CONVERSIONS = 1.5

Nodes = Collection[ir.Node]


def float_streams(integers: Nodes, movable: Callable[[ir.Node], bool]) -> set[ir.Node]:
    """The operators among ``integers`` that are computed in float at no more conversions.

    Args:
        integers: The nodes of a graph that have an integer form and are planned to have it.
        movable: Whether one of them may be in float at all.
    """
    inside = {node for node in integers if node.op_type in _CHEAP | _MOVES and movable(node)}
    pending = set(inside)
    while pending:
        leaving = {node for node in pending if _costs_more({node}, inside, integers)}
        inside -= leaving
        pending = {near for node in leaving for near in _neighbors(node) if near in inside}
    for region in list(_regions(inside)):
        in_float, in_integers = _costs(region, inside, integers)
        if in_float > _MOST_CONVERSIONS * in_integers:
            inside -= region
    _leave_moves(inside, integers)
    return inside


def _leave_moves(inside: set[ir.Node], integers: Nodes) -> None:
    """Take the moves out of ``inside`` that may as well be in integers: there are fewer bytes.

    A Concat stays, whose parts would have to share one scale.
    """
    moves = _MOVES - {"Concat"}
    pending = [node for node in inside if node.op_type in moves]
    while pending:
        x = pending.pop().inputs[0]
        # What reads the same value goes together: the value is converted for all of them at once.
        together = {each for each in x.consumers() if each in inside} if x is not None else set()
        if not together or any(node.op_type not in moves for node in together):
            continue
        if not _costs_less(together, inside, integers):
            inside -= together
            near = {each for node in together for each in _neighbors(node)}
            pending += [each for each in near if each in inside and each.op_type in moves]


def _costs_more(region: Nodes, inside: Nodes, integers: Nodes) -> bool:
    """Whether a region needs more conversions in float than in integers."""
    in_float, in_integers = _costs(region, inside, integers)
    return in_float > in_integers


def _costs_less(region: Nodes, inside: Nodes, integers: Nodes) -> bool:
    """Whether a region needs fewer conversions in float than in integers."""
    in_float, in_integers = _costs(region, inside, integers)
    return in_float < in_integers


def _costs(region: Nodes, inside: Nodes, integers: Nodes) -> tuple[int, int]:
    """How many elements are converted with a region in float, and how many with it in integers.

    The rest of ``inside`` is in float both times.
    """
    values = {value for node in region for value in (*node.inputs, *node.outputs) if value}

    def converted(in_float: Callable[[ir.Node], bool]) -> int:
        return sum(_converted(value, in_float) for value in values)

    return (
        converted(lambda node: node in inside or node not in integers),
        converted(lambda node: (node in inside and node not in region) or node not in integers),
    )


def _converted(value: ir.Value, in_float: Callable[[ir.Node], bool]) -> int:
    """How many elements of a value are converted from integers to float or back.

    Inputs and outputs of the network count as integers.
    """
    if value.const_value is not None or value.dtype != ir.DataType.FLOAT:
        return 0
    producer = value.producer()
    written_in_float = producer is not None and in_float(producer)
    readers = [in_float(reader) for reader in value.consumers()]
    read_in_integers = value.is_graph_output() or not all(readers)
    converted = read_in_integers if written_in_float else any(readers)
    shape = value.shape
    return prod(shape.numpy()) if converted and shape is not None and shape.is_static() else 0


def _neighbors(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        producer = None if value is None else value.producer()
        if producer is not None:
            yield producer
        # Who reads the same value decides whether it is converted in any case.
        yield from () if value is None else value.consumers()
    for value in node.outputs:
        yield from value.consumers()


def _regions(nodes: Iterable[ir.Node]) -> Iterator[set[ir.Node]]:
    """Divide nodes into those that hang together."""
    left = set(nodes)
    while left:
        region, pending = set[ir.Node](), [next(iter(left))]
        while pending:
            node = pending.pop()
            if node in left:
                left.remove(node)
                region.add(node)
                pending += _neighbors(node)
        yield region
