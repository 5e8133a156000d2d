"""Find the operators that a user names to stay in float."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

import onnx_ir as ir

from edgeconv.errors import UsageError
from edgeconv.export.quantize.integer_forms import fused_output

# How many near names a message offers.
_OFFERED = 4


def named_nodes(graph: ir.Graph, patterns: Collection[str]) -> frozenset[str]:
    """Resolve names and patterns to the names of nodes.

    Args:
        graph: A float graph.
        patterns: Names of PyTorch modules, nodes or results, as ``blame`` prints them; ``*``, ``?``
            and ``[...]`` match as in file names.

    Raises:
        UsageError: A pattern matches nothing.
    """
    known: dict[str, set[str]] = {}
    for node in graph:
        for name in _names(node):
            known.setdefault(name, set()).add(str(node.name))
    found: set[str] = set()
    for pattern in patterns:
        matching = [pattern] if pattern in known else [n for n in known if fnmatchcase(n, pattern)]
        if not matching:
            near = get_close_matches(pattern, known, _OFFERED, cutoff=0.0)
            raise UsageError(
                f"no operator is called {pattern!r}",
                hint=f"the nearest names are {', '.join(near)}; `edgeconv blame` lists them",
            )
        found.update(*(known[name] for name in matching))
    return frozenset(found)


def _names(node: ir.Node) -> set[str]:
    """What ``blame`` may call a node: its module, itself, or its result."""
    names = {str(node.name), *(str(value.name) for value in node.outputs if value.name)}
    names.add(str(fused_output(node.outputs[0]).name))
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if weight is not None and str(weight.name).endswith(".weight"):
        names.add(str(weight.name).removesuffix(".weight"))
    return names
