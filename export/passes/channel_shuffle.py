"""Channel shuffles dissolve into the weights around them.

A shuffle (Zhang et al. 2018, arXiv:1707.01083) moves single elements, which costs several
instructions for each. Between convolutions only the set of channels that each of them reads
matters, not their order: the convolution in front writes its channels grouped by who reads them,
runs of channels go where they are read, and the convolution behind reads its weights in the order
in which they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import groupby

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgeconv.export.graph_edit import GraphEditor, describe, only_consumer
from edgeconv.export.passes.steps import broken
from edgeconv.export.traits import Trait, operators

CHANNELS = 1  # the axis
SHUFFLE = (0, 2, 1)  # and the spatial axes after them
# They treat every channel alike and by itself.
CHANNELWISE = operators(Trait.FUNCTION | Trait.POOLS)

Channel = tuple[ir.Value, int]  # of a value that no move computes


class ChannelShuffle(ir.passes.InPlacePass):
    """Shuffles between convolutions → ``Split`` behind the first, ``Concat`` before the others.

    A shuffle is ``Reshape [N, g, C/g, …]``, ``Transpose (0, 2, 1, …)``, ``Reshape [N, C, …]``,
    with a ``Concat`` in front and a ``Split`` behind it. It dissolves where dense convolutions with
    constant weights stand all around.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Dissolve each shuffle between convolutions that can take its order."""
        editor = GraphEditor(model.graph)
        modified = False
        for region, plan in _plans(model.graph):
            _apply(editor, region, plan)
            modified = True
        if modified:
            common.RemoveUnusedNodesPass()(model)  # the moves, which nothing reads now
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that no shuffle is left that could dissolve."""
        if any(_plans(model.graph)):
            raise broken(self, "it left a shuffle")


def _plans(graph: ir.Graph) -> Iterator[tuple[_Region, _Plan]]:
    """The regions with a shuffle whose convolutions can take another order."""
    for region in _regions(_follow(graph)):
        if region.shuffles and (plan := _plan(region)) is not None:
            yield region, plan


@dataclass
class _Moves:
    """Where each channel of a value comes from, for values between convolutions."""

    channels: dict[ir.Value, list[Channel]] = field(default_factory=dict)
    nodes: set[ir.Node] = field(default_factory=set)
    shuffled: set[ir.Value] = field(default_factory=set)

    def of(self, value: ir.Value) -> list[Channel] | None:
        """Return the channels of ``value``; None where their number is not known.

        A value that nothing moved yet has its own.
        """
        if value not in self.channels:
            count = _channel_count(value)
            if count is None:
                return None
            self.channels[value] = [(value, index) for index in range(count)]
        return self.channels[value]


@dataclass
class _Region:
    """Values whose channels come from the same places.

    Attributes:
        sources: the values that are computed.
        read: the values that something else than a move reads, with their channels.
        nodes: the moves.
        shuffles: whether a shuffle is among the moves.
    """

    sources: list[ir.Value]
    read: dict[ir.Value, list[Channel]]
    nodes: set[ir.Node]
    shuffles: bool


class _Kind(Enum):
    """What a node means for the order of channels."""

    DENSE = auto()  # reads and writes them in any order, by its weights
    DEPTHWISE = auto()  # hands the order on; its weights go with it
    CHANNELWISE = auto()  # hands it on


@dataclass(frozen=True)
class _Run:
    """Channels of one source, side by side, with the same readers (by number)."""

    value: ir.Value
    readers: tuple[int, ...]
    channels: list[Channel]


@dataclass(frozen=True)
class _Plan:
    """Convolutions whose results (writers) or inputs (readers) change their order, by value.

    They are dense ones and, on the way to them, depthwise ones.
    """

    writers: dict[ir.Value, list[ir.Node]]
    readers: dict[ir.Value, list[ir.Node]]


def _channel_count(value: ir.Value) -> int | None:
    shape = value.shape
    if shape is None or not shape.is_static() or len(shape) < 3:
        return None
    return int(shape.numpy()[CHANNELS])


def _follow(graph: ir.Graph) -> _Moves:
    """Go through the moves of a graph, whose nodes are in topological order."""
    moves = _Moves()
    for node in graph:
        if node.op_type == "Concat" and _along_channels(node):
            parts = [None if value is None else moves.of(value) for value in node.inputs]
            if all(part is not None for part in parts):
                moves.channels[node.outputs[0]] = [c for part in parts if part for c in part]
                moves.nodes.add(node)
        elif node.op_type == "Split" and _along_channels(node):
            _follow_split(node, moves)
        elif node.op_type == "Reshape":
            _follow_shuffle(node, moves)
    return moves


def _along_channels(node: ir.Node) -> bool:
    axis = node.attributes.get_int("axis", 0)
    rank = None if node.outputs[0].shape is None else len(node.outputs[0].shape)
    return node.domain == "" and rank is not None and axis in (CHANNELS, CHANNELS - rank)


def _follow_split(node: ir.Node, moves: _Moves) -> None:
    x = node.inputs[0]
    sizes = [_channel_count(value) for value in node.outputs]
    channels = None if x is None else moves.of(x)
    if channels is None or any(size is None for size in sizes):
        return
    start = 0
    for value, size in zip(node.outputs, sizes, strict=True):
        assert size is not None
        moves.channels[value] = channels[start : start + size]
        start += size
    moves.nodes.add(node)


def _follow_shuffle(last: ir.Node, moves: _Moves) -> None:
    """Follow the channels through a shuffle that ends with the Reshape ``last``."""
    transpose = _producer(last, "Transpose")
    first = None if transpose is None else _producer(transpose, "Reshape")
    x = None if first is None else first.inputs[0]
    if transpose is None or first is None or x is None:
        return
    split, y = first.outputs[0].shape, last.outputs[0].shape
    if x.shape is None or split is None or y is None or x.shape != y or not split.is_static():
        return
    dims = split.numpy()
    rank = len(dims)
    channels = moves.of(x)
    if channels is None or rank != len(x.shape) + 1 or dims[0] != x.shape[0]:
        return
    order = tuple(transpose.attributes.get_ints("perm", ()))
    if order != (*SHUFFLE, *range(3, rank)) or dims[3:] != x.shape.numpy()[2:]:
        return
    places = np.arange(len(channels)).reshape(dims[1], dims[2]).T.reshape(-1)
    moves.channels[last.outputs[0]] = [channels[place] for place in places]
    moves.nodes |= {first, transpose, last}
    moves.shuffled.add(last.outputs[0])


def _producer(node: ir.Node, operator: str) -> ir.Node | None:
    """Return the producer of the first input, if it is ``operator`` and has no other reader."""
    value = node.inputs[0]
    producer = None if value is None else value.producer()
    if value is None or producer is None or producer.op_type != operator:
        return None
    return producer if only_consumer(value) is not None else None


def _regions(moves: _Moves) -> Iterator[_Region]:
    """Group the values that have channels in common."""
    groups: list[set[ir.Value]] = []
    for channels in moves.channels.values():
        sources = {source for source, _ in channels}
        touched = [group for group in groups if group & sources]
        groups = [group for group in groups if not group & sources]
        groups.append(sources.union(*touched))
    for group in groups:
        inside = {v: c for v, c in moves.channels.items() if c and c[0][0] in group}
        read = {v: c for v, c in inside.items() if _read_outside(v, moves)}
        shuffles = any(value in moves.shuffled for value in inside)
        yield _Region([v for v in inside if v in group], read, moves.nodes, shuffles)


def _read_outside(value: ir.Value, moves: _Moves) -> bool:
    return value.is_graph_output() or any(use.node not in moves.nodes for use in value.uses())


def _plan(region: _Region) -> _Plan | None:
    """Plan new orders; None where a reader needs the order as it is, or reads a channel twice."""
    writers, readers = {}, {}
    for source in region.sources:
        found = _writers(source)
        if found is None:
            return None
        writers[source] = found
    for value, channels in region.read.items():
        found = _readers(value, region.nodes)
        if found is None or len(set(channels)) != len(channels):
            return None
        readers[value] = found
    return _Plan(writers, readers)


def _writers(value: ir.Value) -> list[ir.Node] | None:
    """Return the convolutions that decide the order of a value's channels, the dense one last."""
    found = []
    while (node := value.producer()) is not None and not value.is_graph_output():
        kind = _kind(node)
        if kind is None:
            return None
        if kind is not _Kind.CHANNELWISE:
            found.append(node)
        if kind is _Kind.DENSE:
            return found
        previous = node.inputs[0]
        if previous is None or len(previous.uses()) != 1:
            return None
        value = previous
    return None


def _readers(value: ir.Value, moves: Iterable[ir.Node]) -> list[ir.Node] | None:
    """Return the convolutions that read a value, up to dense ones, which take any order."""
    if value.is_graph_output():
        return None
    found = []
    for use in value.uses():
        if use.node in moves:
            continue
        kind = _kind(use.node)
        if kind is None or use.idx != 0:
            return None
        if kind is not _Kind.CHANNELWISE:
            found.append(use.node)
        if kind is not _Kind.DENSE:
            behind = _readers(use.node.outputs[0], ())
            if behind is None:
                return None
            found += behind
    return found


def _kind(node: ir.Node) -> _Kind | None:
    """Return what ``node`` means for the order of channels; None where it fixes that order."""
    if node.domain != "" or len(node.outputs) != 1:
        return None
    if node.op_type in CHANNELWISE:
        return _Kind.CHANNELWISE
    x = node.inputs[0] if node.inputs else None
    if node.op_type != "Conv" or x is None or not _constant_weights(node):
        return None
    groups = node.attributes.get_int("group", 1)
    if groups == 1:
        return _Kind.DENSE
    alike = groups == _channel_count(x) == _channel_count(node.outputs[0])
    return _Kind.DEPTHWISE if alike else None


def _constant_weights(node: ir.Node) -> bool:
    return all(
        value is None or (value.is_initializer() and value.const_value is not None)
        for value in node.inputs[1:]
    )


def _apply(editor: GraphEditor, region: _Region, plan: _Plan) -> None:
    readers_of: dict[Channel, tuple[int, ...]] = {}
    for index, channels in enumerate(region.read.values()):
        for channel in channels:
            readers_of[channel] = (*readers_of.get(channel, ()), index)
    runs: list[_Run] = []
    for source in region.sources:
        runs += _write_runs(editor, source, plan.writers[source], readers_of)
    for index, (value, channels) in enumerate(region.read.items()):
        parts = [run for run in runs if index in run.readers]
        places = {channel: place for place, channel in enumerate(channels)}
        order = [places[channel] for run in parts for channel in run.channels]
        for conv in plan.readers[value]:
            axis = CHANNELS if _kind(conv) is _Kind.DENSE else 0
            _reorder(editor, conv, order, axis)
        if value not in region.sources:  # such a one is in the order of its runs already
            _read_runs(editor, value, parts, region.nodes)


def _write_runs(
    editor: GraphEditor,
    source: ir.Value,
    writers: Sequence[ir.Node],
    readers_of: Mapping[Channel, tuple[int, ...]],
) -> list[_Run]:
    """Group the channels of a source by their readers, and split the groups apart."""
    channel_count = _channel_count(source)
    node = source.producer()
    assert channel_count is not None
    assert node is not None
    order = sorted(range(channel_count), key=lambda channel: readers_of.get((source, channel), ()))
    for conv in writers:
        _reorder(editor, conv, order, 0)
    channels = ((source, channel) for channel in order)
    grouped = groupby(channels, key=lambda channel: readers_of.get(channel, ()))
    groups = [(readers, list(members)) for readers, members in grouped]
    if len(groups) == 1:
        return [_Run(source, *groups[0])]
    sizes = np.array([len(members) for _, members in groups], np.int64)
    split = ir.node(
        "Split",
        [source, editor.constant(f"{source.name}_runs", sizes)],
        attributes={"axis": CHANNELS},
        num_outputs=len(groups),
        name=f"{source.name}_split",
    )
    for index, value in enumerate(split.outputs):
        value.name = editor.free_name(f"{source.name}_run{index}")
        describe(value, source, shape=_with_channels(source, len(groups[index][1])))
    editor.graph.insert_after(node, split)
    pairs = zip(split.outputs, groups, strict=True)
    return [_Run(value, readers, members) for value, (readers, members) in pairs]


def _read_runs(
    editor: GraphEditor, value: ir.Value, parts: Sequence[_Run], moves: Iterable[ir.Node]
) -> None:
    """Make the readers of a moved value read its runs in its place."""
    node = value.producer()
    assert node is not None
    joined = parts[0].value
    if len(parts) > 1:
        concat = ir.node(
            "Concat",
            [run.value for run in parts],
            attributes={"axis": CHANNELS},
            name=f"{value.name}_concat",
        )
        joined = concat.outputs[0]
        joined.name = editor.free_name(f"{value.name}_runs")
        describe(
            joined, value, shape=_with_channels(value, sum(len(run.channels) for run in parts))
        )
        editor.graph.insert_before(node, concat)
    for use in list(value.uses()):
        if use.node not in moves:
            use.node.replace_input_with(use.idx, joined)


def _with_channels(like: ir.Value, count: int) -> tuple[int, ...]:
    """The shape of ``like`` with another number of channels."""
    assert like.shape is not None
    dims = list(like.shape.numpy())
    dims[CHANNELS] = count
    return tuple(dims)


def _reorder(editor: GraphEditor, conv: ir.Node, order: Sequence[int], axis: int) -> None:
    """Reorder the weights of a convolution along an axis, and along axis 0 the biases as well."""
    for index in (1, 2) if axis == 0 else (1,):
        old = conv.inputs[index] if index < len(conv.inputs) else None
        if old is not None and old.const_value is not None:
            ordered = np.take(old.const_value.numpy(), order, axis)
            conv.replace_input_with(index, editor.constant(f"{old.name}_ordered", ordered))
