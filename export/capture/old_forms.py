"""Forms of operators that ONNX Runtime or onnx's checker refuses, written as others that they take.

ONNX Runtime has no recurrent operators with the batch first (``layout`` 1). The standard withdrew
GroupNormalization of opset 18, whose scale and bias have a number for each group.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

_RECURRENT = {"LSTM", "GRU", "RNN"}
_WITHDRAWN_BEFORE = 21
_STATES = (5, 6)
"""The inputs of a recurrent operator that are states."""


def write_in_forms_that_run(graph: onnx.GraphProto, opset: int) -> bool:
    """Rewrite the nodes of ``graph``, and of the bodies in it, in place; return whether any was."""
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                changed = write_in_forms_that_run(attribute.g, opset) or changed
        if node.op_type in _RECURRENT and node.domain == "" and _integer(node, "layout", 0) == 1:
            nodes += _steps_first(node)
        elif node.op_type == "GroupNormalization" and opset < _WITHDRAWN_BEFORE:
            nodes += _by_instances(graph, node)
        else:
            nodes.append(node)
            continue
        changed = True
    if changed:
        del graph.node[:]
        graph.node.extend(nodes)
    return changed


def _integer(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((item.i for item in node.attribute if item.name == name), default)


def _steps_first(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node with the steps first, between transposes of the data, the states and the results."""
    inner = onnx.NodeProto()
    inner.CopyFrom(node)
    del inner.attribute[:]
    inner.attribute.extend(item for item in node.attribute if item.name != "layout")
    before, after = [], []
    base = next(filter(None, node.output))
    for index in (0, *_STATES):
        if index < len(node.input) and node.input[index]:
            name = f"{base}/input_{index}_steps_first"
            before.append(
                helper.make_node("Transpose", [node.input[index]], [name], perm=[1, 0, 2])
            )
            inner.input[index] = name
    for index, result in enumerate(node.output):
        if result:
            name = f"{result}/steps_first"
            perm = [1, 0, 2] if index else [2, 0, 1, 3]
            after.append(helper.make_node("Transpose", [name], [result], perm=perm))
            inner.output[index] = name
    return [*before, inner, *after]


def _by_instances(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Normalize groups as the channels of an InstanceNormalization, which scales them as well."""
    data, scale, bias = node.input
    (result,) = node.output
    rows, sizes, shape, normal = (
        f"{result}/{part}" for part in ("groups", "sizes", "shape", "normal")
    )
    groups = np.array([0, _integer(node, "num_groups", 1), -1], np.int64)
    graph.initializer.append(numpy_helper.from_array(groups, sizes))
    epsilon = next((item.f for item in node.attribute if item.name == "epsilon"), 1e-5)
    return [
        helper.make_node("Reshape", [data, sizes], [rows]),
        helper.make_node(
            "InstanceNormalization", [rows, scale, bias], [normal], node.name, epsilon=epsilon
        ),
        helper.make_node("Shape", [data], [shape]),
        helper.make_node("Reshape", [normal, shape], [result]),
    ]
