"""Functions of an ``.onnx`` file, and how many nodes they are once written out.

Each of 25 functions that calls the one before twice is 33 million nodes, for which ONNX's inference
and inliner take all time and memory.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
import onnx.inliner

from edgeconv.errors import CaptureError, first_line
from edgeconv.export.proto_graphs import all_nodes, nodes_within

_MOST_NODES = 1_000_000
_DEEPEST = 100


def refuse_endless_functions(proto: onnx.ModelProto, path: object) -> None:
    """Refuse a file whose functions are too many nodes once written out.

    Raises:
        CaptureError: They are, or they call each other too deeply, or in a circle.
    """
    bodies = {(each.domain, each.name): list(nodes_within(each.node)) for each in proto.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in counts:
                if depth == _DEEPEST:
                    raise CaptureError(
                        f"{path}: its functions call each other more than {_DEEPEST} deep or in "
                        f"a circle, as {node.op_type!r} does",
                        hint="write the functions out where the file is made",
                    )
                counts[key] = count(bodies[key], depth + 1)
            total += counts.get(key, 1)
        return total

    if bodies:
        total = count(all_nodes(proto.graph), 0)
        if total > _MOST_NODES:
            raise CaptureError(
                f"{path}: its functions are {total:,} nodes once they are written out, and the "
                f"limit is {_MOST_NODES:,}",
                hint="make a file whose functions do not call each other several times over",
            )


def without_functions(proto: onnx.ModelProto, path: object) -> onnx.ModelProto:
    """``proto`` with its functions written out where they are called; the converter drops them.

    Raises:
        CaptureError: A call does not fit its function.
    """
    if not proto.functions:
        return proto
    try:
        return onnx.inliner.inline_local_functions(proto, convert_version=True)
    except Exception as error:  # onnx raises kinds of its own
        words = first_line(error).rpartition(" failed: ")[2]  # without the source of onnx
        raise CaptureError(
            f"{path}: its functions cannot be written out where they are called: {words}",
            hint="check that calls have the inputs and outputs of their functions",
        ) from error
