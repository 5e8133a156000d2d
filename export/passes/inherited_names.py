"""Names for the nodes that a pass makes, from those that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor

# What onnx_ir calls nodes and values without a name of their own.
_NAMELESS = re.compile(r"(node_.*_|val_|anonymous:)\d+")


@dataclass(frozen=True)
class _Before:
    """A node as it was: its name, its operator, and the names of what it read."""

    name: str
    op_type: str
    inputs: tuple[str, ...]


class InheritedNames:
    """Remembers the nodes of a graph, and names what takes their place.

    A node without a name of its own is called like the node whose result it computes, or, of those
    that went into it, like the one with its operator: a convolution that absorbs a norm keeps its
    name. Nodes that lead up to such a node bear its name in front.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._makers = {
            str(output.name): _Before(
                str(node.name),
                node.op_type,
                tuple(str(value.name) for value in node.inputs if value is not None),
            )
            for node in graph.all_nodes()
            for output in node.outputs
        }
        self._names = {before.name for before in self._makers.values()}

    def pass_on(self, graph: ir.Graph) -> None:
        """Name the nodes, and their results, that have come without a name."""
        made = [node for node in graph.all_nodes() if self._nameless(node)]
        if not made:
            return
        values = {str(value.name) for node in graph.all_nodes() for value in node.inputs if value}
        editor = GraphEditor(graph)
        taken = {str(node.name) for node in graph.all_nodes()} - {str(node.name) for node in made}
        for node in reversed(made):
            result = node.outputs[0]
            absorbed = list(self._absorbed(str(result.name), values))
            same = [before.name for before in absorbed if before.op_type == node.op_type]
            if absorbed:
                node.name = (same or [absorbed[0].name])[0]
            elif readers := result.consumers():
                node.name = f"{readers[0].name}/{node.op_type}"
            if node.name:
                node.name = _free(node.name, taken)  # ONNX Runtime wants every name once
            for value in node.outputs:
                if _NAMELESS.fullmatch(str(value.name)) and str(value.name) not in self._makers:
                    value.name = editor.free_name(str(node.name))

    def _nameless(self, node: ir.Node) -> bool:
        return not node.name or bool(
            node.name not in self._names and _NAMELESS.fullmatch(node.name)
        )

    def _absorbed(self, result: str, values: set[str]) -> Iterator[_Before]:
        """The nodes that computed a value, back to what is still there, the last one first."""
        seen, left = {result}, [result]
        while left:
            before = self._makers.get(left.pop(0))
            if before is None:
                continue
            yield before
            new = [name for name in before.inputs if name not in seen | values]
            seen.update(new)
            left += new


def _free(name: str, taken: set[str]) -> str:
    """Reserve ``name``, or ``name`` with a number behind it."""
    free = next(
        free for number in count() if (free := f"{name}_{number}" if number else name) not in taken
    )
    taken.add(free)
    return free
