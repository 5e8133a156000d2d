"""Where a network can be cut so that a node is left out."""

from __future__ import annotations

import onnx_ir as ir


def part_before(node: ir.Node) -> str:
    """What to do about a node that cannot be in a file: cut before it, or compute it outside."""
    names = dict.fromkeys(
        str(value.name)
        for value in node.inputs
        if value is not None and value.producer() is not None and value.const_value is None
    )
    if names:
        return f"export the part before it with --cut-outputs {','.join(names)}"
    return "compute it outside, before the network: it reads nothing but inputs"
