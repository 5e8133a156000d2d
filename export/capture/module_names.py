"""The names of PyTorch's modules for the nodes and values of a captured graph."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.capture.wrapped import own_name
from edgeconv.export.graph_edit import all_values

_SCOPES = "pkg.torch.onnx.name_scopes"
_COUNTER = re.compile(r"_\d+$")


@dataclass(frozen=True)
class TracedCall:
    """One operator of PyTorch: the path of the module that calls it, and its name in the trace."""

    path: str
    traced: str

    @property
    def operator(self) -> str:
        """What is called, without the number of the call."""
        return _COUNTER.sub("", self.traced)


def name_by_module(graph: ir.Graph) -> None:
    """Name nodes and values by the modules that they come from.

    What a module without submodules computes bears its path (``layer3.0.conv1``), further operators
    theirs behind it (``layer3.0/add``). Inputs, initializers and outputs of the graph keep their
    names, and so does what the exporter says nothing about.

    Args:
        graph: as PyTorch's exporter leaves it.
    """
    calls = {node: call for node in graph.all_nodes() if (call := traced_call(node))}
    last = {call: node for node, call in calls.items()}
    operators: dict[str, set[str]] = defaultdict(set)
    containers: set[str] = set()
    for call in calls.values():
        operators[call.path].add(call.operator)
        parts = call.path.split(".")
        containers |= {".".join(parts[:length]) for length in range(len(parts))}
    results = [output for node in calls for output in node.outputs if not output.is_graph_output()]
    for index, value in enumerate(results):
        value.name = f"\0{index}"  # frees the name that the exporter gave
    names = _Names(graph)
    for node, call in calls.items():
        alone = call.path not in containers and len(operators[call.path]) == 1
        label = call.path if alone else "/".join(filter(None, (call.path, call.operator)))
        if node is not last[call]:
            label = f"{label}/{node.op_type}"
        node.name = names.free(label)
        for output in node.outputs:
            if not output.is_graph_output():
                output.name = node.name if output is node.outputs[0] else names.free(label)


class _Names:
    """Numbers the names that are taken."""

    def __init__(self, graph: ir.Graph) -> None:
        self._taken = {value.name for value in all_values(graph)}
        self._next: dict[str, int] = defaultdict(int)

    def free(self, name: str) -> str:
        free = name
        while free in self._taken:
            self._next[name] += 1
            free = f"{name}_{self._next[name]}"
        self._taken.add(free)
        return free


def traced_call(node: ir.Node) -> TracedCall | None:
    """The operator of PyTorch that a node is of, as the exporter says; None if it does not."""
    scopes = node.metadata_props.get(_SCOPES)
    if scopes is None:
        return None
    *paths, traced = ast.literal_eval(scopes)
    return TracedCall(own_name(paths[-1]) if paths else "", traced)
