"""Where a network can be cut so that a node is left out."""

from __future__ import annotations

import onnx_ir as ir


def cut_before(node: ir.Node) -> str:
    """The option that leaves ``node`` out, with the computed values that it reads."""
    names = dict.fromkeys(
        str(value.name)
        for value in node.inputs
        if value is not None and value.producer() is not None and value.const_value is None
    )
    return f"--cut-outputs {','.join(names) or 'NAME'}"
