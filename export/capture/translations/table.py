"""What a translation is, and how the translations of a program are applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram


def _always(*_args: Any, **_kwargs: Any) -> bool:
    return True


@dataclass(frozen=True)
class Translation:
    """An ATen operator in terms of others that PyTorch's exporter can write as ONNX.

    Attributes:
        function: takes the operator's arguments and computes its results.
        applies: whether calls with these arguments need it; the exporter writes the others.
    """

    function: Callable[..., Any]
    applies: Callable[..., bool] = _always

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results of one call, or NotImplemented where the exporter writes the operator."""
        return self.function(*args, **kwargs) if self.applies(*args, **kwargs) else NotImplemented


Table = dict[torch._ops.OpOverload, Translation]


def merged(*tables: Table) -> Table:
    """One table of several; an operator may be in one of them only."""
    result: Table = {}
    for table in tables:
        twice = result.keys() & table.keys()
        assert not twice, f"translated twice: {twice}"
        result |= table
    return result


def before(table: Table, own: Mapping[Any, Callable[..., Any]]) -> dict[Any, Callable[..., Any]]:
    """The translations as entries for PyTorch's own table, whose entries take the other calls.

    PyTorch asks that table while it traces, too, and remembers which operators are in it: a call
    without a result would be the result then.
    """
    return {
        operator: _in_front(translation, own[operator]) if operator in own else translation
        for operator, translation in table.items()
    }


def _in_front(translation: Translation, own: Callable[..., Any]) -> Callable[..., Any]:
    def decomposed(*args: Any, **kwargs: Any) -> Any:
        result = translation(*args, **kwargs)
        return own(*args, **kwargs) if result is NotImplemented else result

    return decomposed


def apply(table: Table, program: ExportedProgram) -> ExportedProgram:
    """Replace the operators of ``program`` that have a translation.

    A program that needs none is returned as it is: to trace it again would take as long as the
    rest of the capture.
    """
    graphs = [m for m in program.graph_module.modules() if isinstance(m, fx.GraphModule)]
    nodes = (node for graph in graphs for node in graph.graph.nodes)
    if not any(_needs(table, node) for node in nodes):
        return program
    translated: ExportedProgram = program.run_decompositions(dict(table))
    return translated


def _needs(table: Table, node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    translation = table.get(_functional(node.target))
    if translation is None:
        return False
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda used: used.meta["val"])
    return translation.applies(*args, **kwargs)


def _functional(operator: torch._ops.OpOverload) -> torch._ops.OpOverload:
    """The operator that an in-place one becomes before translations see it."""
    namespace, _, name = operator._schema.name.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None)
    if not name.endswith("_") or name.endswith("__") or packet is None:
        return operator
    found = getattr(packet, operator._overloadname, operator)
    assert isinstance(found, torch._ops.OpOverload)
    return found
