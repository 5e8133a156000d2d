"""Choose the operators that cost no more in float, because what is around them is in float.

A transformer adds the result of every block to a stream that layer normalizations read, which are
computed in float. In integers each of these sums would round the whole stream, for readers that
take it back to float at once; and its one scale would serve class tokens beside patch tokens a
hundred times as large. In float nothing is rounded, and as many elements are converted: the result
of each block, in the place of the stream.

The choice is the one with the least cost, found as a minimum cut between the operators that are in
float in any case and those that are in integers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from math import prod

import onnx_ir as ir

from edgeconv.export.quantize.minimum_cut import MinimumCut
from edgeconv.export.traits import Trait, operators

# Costs of an element, of which four are at least an instruction. They were counted on a Cortex-A72
# and an A76 under LiteRT (docs/emulated-pi.md): an int8 sum, which rescales both operands, takes
# 1.6 instructions more than one in float, and an int8 Softmax 0.5 more. A conversion is taken to
# cost as much as a sum. What copies elements moves three bytes more in float.
_CONVERTED = 4
_IN_INTEGERS = {"Add": 4, "Sub": 4, "Mul": 4, "Softmax": 2}
_COPIED = 1

_COPIES = operators(Trait.VIEWS) | {"Gather", "Pad", "Slice", "Split", "Transpose"}
# A Concat costs nothing in float, where its parts need not share a scale.
_FREE = frozenset(_IN_INTEGERS) | _COPIES | {"Concat"}
_BY_ELEMENT = _FREE | {"Div"} | operators(Trait.FUNCTION)

Nodes = Collection[ir.Node]


def float_streams(
    integers: Nodes, movable: Nodes, known: Nodes, *, float_inputs: bool = True
) -> set[ir.Node]:
    """The operators among ``integers`` that cost no more in float.

    Args:
        integers: The nodes of a graph that have an integer form and are planned to have it.
        movable: Those among them that may be in float.
        known: The nodes whose results are constants, which are converted before a run.
        float_inputs: Whether the inputs of the network may be read in float.
    """
    free = {node for node in movable if node.op_type in _FREE}
    cut = MinimumCut()

    def side(node: ir.Node | None) -> Hashable:
        if node in free:
            return node
        # Inputs and outputs of the network count as integers.
        return MinimumCut.TARGET if node is None or node in integers else MinimumCut.SOURCE

    for node in free:
        elements = sum(_elements(value) for value in node.outputs)
        cut.add(MinimumCut.SOURCE, node, _IN_INTEGERS.get(node.op_type, 0) * elements)
        if node.op_type in _COPIES:
            cut.add(node, MinimumCut.TARGET, _COPIED * elements)
    values = {value for node in free for value in (*node.inputs, *node.outputs) if value}
    for value in values:
        if value.producer() in known:
            continue
        readers = {side(reader) for reader in value.consumers()}
        if value.is_graph_output():
            readers.add(MinimumCut.TARGET)
        _add_conversions(cut, value, side(value.producer()), readers)

    def is_all(found: Nodes) -> bool:
        """Whether nothing but ``found`` and what copies could be in int8, which was asked for."""
        return all(node in found or node.op_type in _COPIES for node in integers)

    chosen = free - cut.target_side()
    if is_all(chosen):
        return set()
    if not float_inputs:
        return chosen
    rest = {node for node in movable if node.op_type in _BY_ELEMENT and node not in chosen}
    found = chosen | _in_front(rest, {node for node in integers if node not in chosen}, known)
    return chosen if is_all(found) else found


def _in_front(free: Nodes, integers: Nodes, known: Nodes) -> set[ir.Node]:
    """What leads elements from float inputs of the network to nothing but operators in float.

    In integers it would convert them there and back, as the Clip between a spectrum and its
    logarithm, which cannot tell the small ones apart then.
    """
    ends: set[ir.Node] = set()

    def only_in_float(value: ir.Value) -> bool:
        readers = value.consumers()
        return not value.is_graph_output() and all(
            reader in ends or reader not in integers for reader in readers
        )

    while found := {n for n in free if n not in ends and all(map(only_in_float, n.outputs))}:
        ends |= found
    while beyond := {
        node for node in ends if not _reads_inputs(node, {*ends, *known}, only_in_float)
    }:
        ends -= beyond
    return ends


def _reads_inputs(node: ir.Node, known: Nodes, only_in_float: Callable[[ir.Value], bool]) -> bool:
    """Whether ``node`` reads inputs of the network that nothing in integers reads, and no more."""
    read = [value for value in node.inputs if value is not None and value.const_value is None]
    return bool(read) and all(
        only_in_float(value) if value.is_graph_input() else value.producer() in known
        for value in read
    )


def _add_conversions(
    cut: MinimumCut, value: ir.Value, producer: Hashable, readers: set[Hashable]
) -> None:
    """Let a value be converted once if a reader of it is not on the side of its producer."""
    cost = _CONVERTED * _elements(value)
    if not cost:
        return
    dequantized, quantized = (value, "dequantized"), (value, "quantized")
    cut.add(dequantized, producer, cost)
    cut.add(producer, quantized, cost)
    for reader in readers:
        cut.add(reader, dequantized, MinimumCut.UNLIMITED)
        cut.add(quantized, reader, MinimumCut.UNLIMITED)


def _elements(value: ir.Value) -> int:
    """How many elements of a value could be converted; none of a constant, 1 of unknown shape."""
    if value.const_value is not None or value.dtype not in (None, ir.DataType.FLOAT):
        return 0
    return prod(value.shape.numpy()) if value.shape is not None and value.shape.is_static() else 1
