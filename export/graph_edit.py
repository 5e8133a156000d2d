"""Small edits of an ONNX graph that several rewrites share: names, constants, consumers, clamps.

What onnx_ir has is used as it is: ``ir.convenience.get_const_tensor`` for a constant that may come
from a Constant node, ``ir.convenience.replace_nodes_and_values`` to put nodes in the place of
others, and ``node.attributes.get_int(name, default)`` and its siblings to read an attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]

STATES = "edgeconv.states"
"""The mark of a QuantizeLinear or DequantizeLinear: the name of the activation that it states."""
CUTS = "edgeconv.cuts"
"""The mark of a QuantizeLinear whose range alone is left of a Relu or Clip: the bounds of that."""
IN_FLOAT = "edgeconv.in_float"
"""The mark, among what a node has in memory only, of one to compute in float between integers.

It is the reason, in words.
"""
ASKED = "it was asked to stay in float"
LOSES = "it would lose too much in int8"
KEPT = (ASKED, LOSES)
"""Why nodes of a graph that edgeconv quantized have that mark."""


class GraphEditor:
    """Adds constants and names to a graph, under names that no value of it has yet.

    The names are collected once, when the first one is asked for. While an editor is in use, every
    new value of the graph therefore takes its name from that editor.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    @cached_property
    def _taken(self) -> set[str]:
        return {value.name for value in all_values(self.graph) if value.name}

    def free_name(self, name: str) -> str:
        """Reserve ``name``, or ``name`` with as many underscores behind it as make it unique."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def constant(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """Add an initializer.

        Args:
            name: the wanted name; :meth:`free_name` makes it unique.
            array: its elements, in their dtype.
        """
        name = self.free_name(name)
        # A view that is not contiguous, such as a transposed weight, is stored as it is seen.
        tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
        value = ir.val(name, const_value=tensor)
        self.graph.register_initializer(value)
        return value


def all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every value of a graph: inputs, initializers and results, those of its bodies included."""
    for part in (graph, *graph.subgraphs()):
        yield from part.inputs
        yield from part.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs


def describe(
    value: ir.Value,
    like: ir.Value,
    *,
    shape: ir.Shape | Sequence[int | ir.SymbolicDim] | None = None,
    dtype: ir.DataType | None = None,
) -> None:
    """Give ``value`` the shape and type of ``like``, but for the ones that are stated."""
    value.shape = like.shape if shape is None else ir.Shape(shape)
    value.type = like.type if dtype is None else ir.TensorType(dtype)


def dims_of(value: ir.Value) -> tuple[int | ir.SymbolicDim, ...]:
    """The sizes of a value whose number of dimensions is known."""
    assert value.shape is not None
    return value.shape.dims


def is_empty(value: ir.Value) -> bool:
    """Whether ``value`` is known to have no elements."""
    return value.shape is not None and value.shape.is_static() and 0 in value.shape.numpy()


def own_outputs(graph: ir.Graph, names: Sequence[str]) -> None:
    """Make every output a value of its own, with its own name, in place.

    An output that is an input, a constant or another output as well becomes the result of an
    Identity. An output that is called like an input gets ``_1`` behind its name.

    Args:
        graph: The graph.
        names: The name of each output.
    """
    wanted: dict[ir.Value, str] = {}
    inputs = {value.name for value in graph.inputs}
    for index, name in enumerate(names):
        value = graph.outputs[index]
        if value.is_graph_input() or value.is_initializer() or value in wanted:
            node = ir.node("Identity", [value])
            graph.append(node)
            describe(node.outputs[0], value)
            graph.outputs[index] = value = node.outputs[0]
        while name in inputs or name in wanted.values():
            name = f"{name}_1"
        wanted[value] = name
    editor, finals = GraphEditor(graph), set(wanted.values())
    for value in [each for each in all_values(graph) if each not in wanted]:
        if value.name in finals:
            value.name = editor.free_name(str(value.name))
    for value, name in wanted.items():
        value.name = name


def put_before(
    editor: GraphEditor, node: ir.Node, operator: str, name: str, constants: Sequence[ir.Value] = ()
) -> str:
    """Write an operator of one result in front of the first input of ``node``.

    Args:
        editor: Of the graph.
        node: What reads the result from then on.
        operator: The operator, which keeps the shape and the type.
        name: The name of its node and its result; :meth:`GraphEditor.free_name` makes it unique.
        constants: What it reads behind that input.

    Returns:
        The unique name.
    """
    x = node.inputs[0]
    assert x is not None
    name = editor.free_name(name)
    added = ir.node(operator, [x, *constants], name=name)
    added.outputs[0].name = name
    describe(added.outputs[0], x)
    editor.graph.insert_before(node, added)
    node.replace_input_with(0, added.outputs[0])
    return name


def only_consumer(value: ir.Value, op_type: str | None = None) -> ir.Node | None:
    """The node that reads ``value``, if that is all that happens to it.

    Args:
        value: an input, initializer or result of a graph.
        op_type: the ONNX operator that the node has to be; any by default.

    Returns:
        None for a graph output, for a value that is read twice or never, by another operator than
        ``op_type`` or by one of a custom domain.
    """
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    (use,) = uses
    fits = op_type is None or (use.node.op_type == op_type and use.node.domain == "")
    return use.node if fits else None


def constant_array(value: ir.Value | None) -> Array:
    """The elements of an initializer, which the caller knows to be one."""
    assert value is not None
    assert value.const_value is not None
    array: Array = value.const_value.numpy()
    return array


def known_array(value: ir.Value) -> Array | None:
    """The elements of a constant; None for a value that the network computes."""
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def clamp_bounds(
    node: ir.Node, known: Callable[[ir.Value], Array | None] = known_array
) -> tuple[float, float] | None:
    """The interval that a Relu or Clip limits its input to.

    Args:
        node: any node.
        known: the elements of a bound, or None where the network computes it.

    Returns:
        Lower and upper bound, infinite where there is none; None for any other operator, and for
        a Clip that computes a bound, or has several.
    """
    if node.domain != "" or node.op_type not in ("Relu", "Clip"):
        return None
    if node.op_type == "Relu":
        return 0.0, inf
    bounds = [-inf, inf]
    for position, value in enumerate(node.inputs[1:3]):
        if value is None:
            continue
        array = known(value)
        if array is None or array.size != 1:
            return None
        bounds[position] = float(array.item())
    return bounds[0], bounds[1]
