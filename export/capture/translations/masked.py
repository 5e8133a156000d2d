"""What is read under a boolean mask and written back under it: ``y[mask] = z[mask] * 2``.

How many elements a mask selects is not known before the network runs. Where they all go back to
their own places, the same is computed for every place, and a Where chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

_aten = torch.ops.aten
_READS = (_aten.index.Tensor, _aten.masked_select.default)


def unmask(program: ExportedProgram) -> ExportedProgram:
    """``program`` with such assignments as Where; it stays as it is where it has none."""
    if not any(_mask_of(node) for node in program.graph.nodes if node.target in _READS):
        return program
    functional: ExportedProgram = program.run_decompositions({})  # no value changes any more
    graph = functional.graph_module.graph
    for node in list(graph.nodes):
        if node.target in (_aten.index_put.default, _aten.masked_scatter.default):
            _choose(graph, node)
    for node in reversed(graph.nodes):
        # They say that the number of selected elements is one.
        if node.target is _aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    functional.graph_module.recompile()
    return functional


def _choose(graph: fx.Graph, node: fx.Node) -> None:
    """Turn an assignment into Where, if its values were read under the same mask."""
    place = _mask_of(node)
    if place is None:
        return
    before, mask = place
    values = node.args[2]
    with graph.inserting_before(node):
        whole = _whole(graph, values, before, mask, _val(node).dim())
        if whole is None:
            return
        x = node.args[0]
        after = _val(node).dim() - before - _val(mask).dim()
        shape = [*[1] * before, *_val(mask).shape, *[1] * after]
        chosen = _call(graph, _aten.reshape.default, mask, shape)
        if node.target is _aten.index_put.default and len(node.args) > 3 and node.args[3]:
            whole = _call(graph, _aten.add.Tensor, x, whole)
    node.target, node.args, node.kwargs = _aten.where.self, (chosen, whole, x), {}


def _whole(graph: fx.Graph, values: Any, before: int, mask: fx.Node, rank: int) -> fx.Node | None:
    """What ``values`` would be without the mask; None if they are not computed place by place."""
    if not isinstance(values, fx.Node):
        return None
    if values.target in _READS:
        place = _mask_of(values)
        if place is None or place[0] != before or not _equal(place[1], mask):
            return None
        read = values.args[0]
        return read if isinstance(read, fx.Node) and _val(read).dim() == rank else None
    if _drops_ones(values):
        return _whole(graph, values.args[0], before, mask, rank)
    if not _is_pointwise(values):
        return None
    after = rank - before - _val(mask).dim()
    arguments: list[Any] = []
    for argument in values.args:
        if not isinstance(argument, fx.Node) or _val(argument).dim() <= after:
            arguments.append(argument)
            continue
        whole = _whole(graph, argument, before, mask, rank)
        if whole is None:
            return None
        arguments.append(whole)
    return _call(graph, values.target, *arguments, **values.kwargs)


def _drops_ones(node: fx.Node) -> bool:
    """Whether it takes leading dimensions of size 1 away, as PyTorch does before an assignment."""
    if node.target not in (_aten.view.default, _aten.reshape.default):
        return False
    source = node.args[0]
    assert isinstance(source, fx.Node)
    given, made = _val(source).shape, _val(node).shape
    ones = len(given) - len(made)
    return ones >= 0 and given[ones:] == made and given[:ones] == (1,) * ones


def _is_pointwise(node: fx.Node) -> bool:
    """Whether it computes floats place by place: an integer could be divided by zero elsewhere."""
    return (
        isinstance(node.target, torch._ops.OpOverload)
        and torch.Tag.pointwise in node.target.tags
        and torch.Tag.nondeterministic_seeded not in node.target.tags
        and isinstance(node.meta.get("val"), torch.Tensor)
        and _val(node).is_floating_point()
    )


def _mask_of(node: fx.Node) -> tuple[int, fx.Node] | None:
    """The only boolean mask of a node, and how many whole dimensions come before it."""
    if node.target in (_aten.index.Tensor, _aten.index_put.default):
        indices = node.args[1]
        assert isinstance(indices, Sequence)
        before, mask = len(indices) - 1, indices[-1]
        if any(index is not None for index in indices[:-1]):
            return None
    else:
        # A mask that is broadcast is another one.
        before, mask = 0, node.args[1]
        first = node.args[0]
        assert isinstance(first, fx.Node)
        assert isinstance(mask, fx.Node)
        if _val(first).shape != _val(mask).shape:
            return None
    is_mask = isinstance(mask, fx.Node) and _val(mask).dtype == torch.bool
    return (before, mask) if is_mask and isinstance(mask, fx.Node) else None


def _equal(a: Any, b: Any) -> bool:
    """Whether two arguments have one value: a mask is often written out twice."""
    if isinstance(a, fx.Node) and isinstance(b, fx.Node) and a is not b:
        seeded = isinstance(a.target, torch._ops.OpOverload) and (
            torch.Tag.nondeterministic_seeded in a.target.tags
        )
        return (
            a.op == b.op == "call_function"
            and a.target is b.target
            and not seeded
            and a.kwargs == b.kwargs
            and len(a.args) == len(b.args)
            and all(map(_equal, a.args, b.args))
        )
    return a is b or (type(a) is type(b) and not isinstance(a, fx.Node) and bool(a == b))


def _call(graph: fx.Graph, operator: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """A new node, with the shape and type of its value."""
    made = graph.call_function(operator, args, kwargs)
    values, named = fx.map_arg((args, kwargs), lambda used: used.meta["val"])
    fake = next(value for value in _tensors(values)).fake_mode
    with fake:
        made.meta["val"] = operator(*values, **named)
    return made


def _tensors(values: Sequence[Any]) -> Iterator[Any]:
    return (value for value in values if isinstance(value, torch.Tensor))


def _val(node: fx.Node) -> torch.Tensor:
    value = node.meta["val"]
    assert isinstance(value, torch.Tensor)
    return value
