"""Make networks hard to quantize without changing what they compute.

Each attack changes the parameters of a float graph with folded batch norms. The function stays the
same up to float rounding, but the ranges that 8 bits have to cover become bad.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

Array = npt.NDArray[np.float32]

FACTOR = 1000.0  # the ratio of the largest scale of a channel to the smallest
SPOILED = 300.0  # the weights of dead channels, as a multiple of the others' spread
ADDED = 0.25  # channels added, as a share of the existing ones
CONSTANT = 300.0  # the value of added constant channels, as a multiple of the layer's largest bias


def rescale_channels(model: ir.Model, seed: int = 0) -> ir.Model:
    """Scale the output channels of a convolution, and divide the scale out in the next one.

    The scales of two channels differ by a factor of up to FACTOR.
    """
    rng = np.random.default_rng(seed)
    model = model.clone()
    for chain in _chains(model.graph):
        for before, after in zip(chain.convs, chain.convs[1:], strict=False):
            factors = FACTOR ** rng.uniform(-0.5, 0.5, len(before.weight))
            before.set(before.weight * _along(factors, 0), before.bias * factors)
            after.set(after.weight / _along(factors, after.input_axis), after.bias)
    return model


def add_dead_channels(model: ir.Model, seed: int = 0) -> ir.Model:
    """Add channels that are zero for every input, and read them with large weights.

    Half of them have weights of 1e-12, too small for a scale of their own.
    """
    rng = np.random.default_rng(seed)

    def widen(chain: _Chain) -> None:
        first, *between, last = chain.convs
        count = _added(first)
        tiny = np.where(np.arange(count) % 2, 1e-12, 0.0)
        # Negative before the clamp, zero after it.
        first.widen(tiny[:, None], -np.ones(count) * np.abs(first.bias).max())
        for conv in between:
            conv.widen(rng.normal(0, _spread(conv), (count, 1)), np.zeros(count))
        shape = (len(last.weight), count, *last.weight.shape[2:])
        last.read_more(rng.normal(0, SPOILED * _spread(last), shape), np.zeros(count))

    return _widened(model, widen, clamped=True)


def add_constant_channels(model: ir.Model, seed: int = 0) -> ir.Model:
    """Add channels that carry only a large bias.

    The bias of the convolution that reads them subtracts their contribution again.
    """
    rng = np.random.default_rng(seed)

    def widen(chain: _Chain) -> None:
        *firsts, last = chain.convs
        count = _added(firsts[0])
        values = np.zeros(count)
        for conv in firsts:
            largest = np.abs(conv.bias).max() or 1.0
            values = CONSTANT * largest * rng.uniform(0.5, 1, count)
            conv.widen(np.zeros((count, 1)), values)
        # At a padded border the constant is missing, so a padded convolution must not read it.
        spread = 0.0 if last.is_padded else _spread(last) / CONSTANT
        shape = (len(last.weight), count, *last.weight.shape[2:])
        last.read_more(rng.normal(0, spread, shape), values)

    return _widened(model, widen, clamped=False)


def heavy_tail(x: Array, seed: int = 0, share: float = 0.03, factor: float = 200.0) -> Array:
    """Make one value ``factor`` times too large in a ``share`` of the inputs [N, C, H, W].

    Dead pixels and faulty decoders produce such inputs.
    """
    rng = np.random.default_rng(seed)
    changed = x.copy()
    for index in np.flatnonzero(rng.random(len(x)) < share):
        position = tuple(rng.integers(size) for size in x.shape[1:])
        changed[(index, *position)] = rng.choice([-1, 1]) * factor * np.abs(x).max()
    return changed


ATTACKS: dict[str, Callable[[ir.Model], ir.Model]] = {
    "rescaled channels": rescale_channels,
    "dead channels": add_dead_channels,
    "constant channels": add_constant_channels,
}


class _Conv:
    """A convolution with constant weight [O, I / group, …] and bias [O]."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self.node = graph, node
        self.weight: Array = _array(node, 1)
        has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
        self.bias: Array = _array(node, 2) if has_bias else np.zeros(len(self.weight), np.float32)

    @property
    def group(self) -> int:
        return self.node.attributes.get_int("group", 1)

    @property
    def is_depthwise(self) -> bool:
        return self.group > 1 and self.weight.shape[:2] == (self.group, 1)

    @property
    def is_padded(self) -> bool:
        return any(self.node.attributes.get_ints("pads", ()))

    @property
    def input_axis(self) -> int:
        """The axis of the weight that belongs to the input channels."""
        return 0 if self.is_depthwise else 1

    def set(self, weight: Array, bias: Array) -> None:
        self.weight, self.bias = weight.astype(np.float32), bias.astype(np.float32)
        if len(self.node.inputs) < 3:
            self.node.resize_inputs(3)
        for index, array in ((1, self.weight), (2, self.bias)):
            self._drop(self.node.inputs[index], index)
            name = f"{self.node.outputs[0].name}_attacked_{index}"
            value = ir.val(name, const_value=ir.tensor(array, name=name))
            self._graph.register_initializer(value)
            self.node.replace_input_with(index, value)

    def _drop(self, value: ir.Value | None, index: int) -> None:
        self.node.replace_input_with(index, None)
        if value is not None and not value.uses():
            self._graph.initializers.pop(str(value.name), None)

    def widen(self, fill: npt.NDArray[np.float64], bias: npt.NDArray[np.float64]) -> None:
        """Add output channels; ``fill`` [added, 1] is the weight of each."""
        count = len(bias)
        more = np.broadcast_to(_along(fill[:, 0], 0), (count, *self.weight.shape[1:]))
        if self.is_depthwise:
            self.node.attributes["group"] = ir.AttrInt64("group", self.group + count)
        self.set(np.concatenate([self.weight, more]), np.concatenate([self.bias, bias]))

    def read_more(self, weight: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> None:
        """Read further input channels with constant ``values``; the output stays the same."""
        carried = (weight.reshape(*weight.shape[:2], -1).sum(-1)) @ values
        self.set(np.concatenate([self.weight, weight], axis=1), self.bias - carried)


@dataclass(frozen=True)
class _Chain:
    """A full convolution, any number of depthwise ones, and a full one, which read only each other.

    Between two of them is a Relu or nothing. ``clamped`` is true if a Relu follows the first one.
    """

    convs: list[_Conv]
    clamped: bool


def _chains(graph: ir.Graph) -> Iterator[_Chain]:
    """Find the chains one by one, each with the weights of that moment.

    A convolution may end one chain and begin the next, and the caller changes weights in between.
    """
    for node in graph:
        if not _is_conv(node):
            continue
        convs = [_Conv(graph, node)]
        follower, clamped = _follower(node)
        if convs[0].group != 1:
            continue
        while follower is not None:
            convs.append(_Conv(graph, follower))
            if not convs[-1].is_depthwise:
                break
            follower, _ = _follower(follower)
        if follower is not None and convs[-1].group == 1:
            yield _Chain(convs, clamped)


def _follower(node: ir.Node) -> tuple[ir.Node | None, bool]:
    """Find the convolution that is the only reader of ``node``'s output.

    Returns:
        The convolution or None, and whether a Relu lies between the two.
    """
    clamped = False
    value = node.outputs[0]
    while len(uses := list(value.uses())) == 1 and not value.is_graph_output():
        reader = uses[0].node
        if reader.op_type == "Relu":
            value, clamped = reader.outputs[0], True
            continue
        return (reader if _is_conv(reader) and uses[0].idx == 0 else None), clamped
    return None, clamped


def _is_conv(node: ir.Node) -> bool:
    return node.op_type == "Conv" and all(
        value is None or value.const_value is not None for value in node.inputs[1:]
    )


def _widened(model: ir.Model, widen: Callable[[_Chain], None], *, clamped: bool) -> ir.Model:
    """Copy the model, widen chains that share no convolution, and infer the inner shapes again."""
    model = model.clone()
    taken: set[ir.Node] = set()
    for chain in _chains(model.graph):
        nodes = {conv.node for conv in chain.convs}
        if nodes & taken or (clamped and not chain.clamped):
            continue
        taken |= nodes
        widen(chain)
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True)
    return ir.from_proto(proto)


def _added(conv: _Conv) -> int:
    return max(2, round(ADDED * len(conv.weight)))


def _spread(conv: _Conv) -> float:
    return float(conv.weight.std())


def _along(values: npt.NDArray[np.floating], axis: int) -> npt.NDArray[np.floating]:
    """Reshape [C] so that it multiplies a weight [O, I, H, W] along ``axis``."""
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    return values.reshape(shape)


def _array(node: ir.Node, index: int) -> Array:
    value = node.inputs[index]
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()
