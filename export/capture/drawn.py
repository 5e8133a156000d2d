"""Attention and recurrent operators that draw random numbers by an argument of theirs."""

from __future__ import annotations

from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.capture.refusal import called_by

_SHARES = {"dropout_p", "dropout"}
"""Arguments with the share that attention and recurrent operators drop."""


def refuse_dropped(program: ExportedProgram, name: str) -> None:
    """Refuse attention and recurrent operators that drop numbers whatever the mode is.

    PyTorch's exporter would leave that out: its file computes what the network does not.

    Args:
        program: The program.
        name: What the network is called.

    Raises:
        UnsupportedOperator: One drops a share above 0.
    """
    for graph in program.graph_module.modules():
        for node in graph.graph.nodes if isinstance(graph, fx.GraphModule) else ():
            if node.users and (stated := _dropped(node)) is not None:
                argument, share = stated
                raise UnsupportedOperator(
                    f"{node.target}, which {called_by(node, name)}, draws random numbers, because "
                    f"its {argument} is {share:g}: no file can be compared with it",
                    hint=f"pass {argument}={share:g} only while self.training is true, and 0 else",
                )


def _dropped(node: fx.Node) -> tuple[str, float] | None:
    """The argument by which an operator drops a share of its numbers, and that share."""
    operator = node.target
    if not isinstance(operator, OpOverload):
        return None
    names = [argument.name for argument in operator._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    if not given.get("train", True):
        return None
    for name in _SHARES & set(given):
        share = given[name]
        if isinstance(share, int | float) and share > 0:
            return name, float(share)
    return None
