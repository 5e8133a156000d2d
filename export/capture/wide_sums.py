"""Sums of very many values, written as sums of sums."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

from edgeconv.export.proto_graphs import all_graphs

# onnx-ir takes an input from a node in time by the number of its inputs.
_WIDEST = 64


def narrow_sums(proto: onnx.ModelProto) -> None:
    """Write each Sum of more than 64 values as several, one after the other, in place.

    They are added in the same order, as ONNX Runtime adds them.
    """
    for graph in all_graphs(proto.graph):
        if all(not _is_wide(node) for node in graph.node):
            continue
        taken = _names(proto)
        nodes = [part for node in graph.node for part in _parts(node, taken)]
        del graph.node[:]
        graph.node.extend(nodes)


def _names(proto: onnx.ModelProto) -> set[str]:
    found: set[str] = set()
    for graph in all_graphs(proto.graph):
        found.update(each.name for each in (*graph.input, *graph.initializer))
        found.update(name for node in graph.node for name in node.output)
    return found


def _is_wide(node: onnx.NodeProto) -> bool:
    return node.op_type == "Sum" and node.domain == "" and len(node.input) > _WIDEST


def _parts(node: onnx.NodeProto, taken: set[str]) -> Iterator[onnx.NodeProto]:
    if not _is_wide(node):
        yield node
        return
    names, total = list(node.input), node.input[0]
    rest = names[1:]
    for start in range(0, len(rest), _WIDEST):
        values, last = rest[start : start + _WIDEST], start + _WIDEST >= len(rest)
        result = node.output[0]
        while not last and result in taken:
            result = f"{result}_{start}"
        taken.add(result)
        name = node.name if last or not node.name else f"{node.name}_{start}"
        yield helper.make_node("Sum", [total, *values], [result], name)
        total = result
