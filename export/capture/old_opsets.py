"""Raise a file of an old opset, with what onnx's own converter gets wrong put right.

Before opset 11 Upsample and Resize had no attributes for the places of their samples: the converter
leaves those of opset 11 at their defaults, which mean others. Before opset 13 Hardmax was over all
dimensions from its axis on, which the converter does not write out.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.proto_graphs import all_nodes

_HARDMAX_ALONG_AXIS = 13
_RESIZE_STATES_PLACES = 11


def convert_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """A copy of ``proto`` in ``opset``.

    Raises:
        CaptureError: A Resize of an opset below 11 has no counterpart.
        Exception: Whatever the converter of onnx raises.
    """
    before = opset_of(proto)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    if before < _HARDMAX_ALONG_AXIS <= opset:
        _write_out_hardmax(copy.graph)
    converted = onnx.version_converter.convert_version(copy, opset)
    if not before < _RESIZE_STATES_PLACES <= opset:
        return converted
    constants = {tensor.name: tensor for tensor in converted.graph.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in converted.graph.node
        if node.op_type == "Constant" and node.attribute[0].HasField("t")
    }
    for node in all_nodes(converted.graph):
        if node.op_type == "Resize":
            _state_places(node, constants)
    return converted


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of the standard's operators; 0 where the file states none."""
    return next((item.version for item in proto.opset_import if item.domain in ("", "ai.onnx")), 0)


def _state_places(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Place the samples as ONNX Runtime does: from the start, the nearest one before (or after)."""
    scales = constants.get(node.input[2]) if len(node.input) > 2 else None
    factors = np.ones(1) if scales is None else numpy_helper.to_array(scales)
    if np.any(factors < 1) and np.any(factors > 1) and _mode(node) == "nearest":
        raise CaptureError(
            f"{node.name or node.output[0]} (Resize) enlarges one dimension and reduces another, "
            "by nearest neighbors of an opset below 11, which later ones cannot state",
            hint="export the file anew with opset 11 or later",
        )
    rounding = "ceil" if np.any(factors < 1) else "floor"
    node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
    node.attribute.append(helper.make_attribute("nearest_mode", rounding))


def _mode(node: onnx.NodeProto) -> str:
    stated = (item.s.decode() for item in node.attribute if item.name == "mode")
    return next(stated, "nearest")


def _write_out_hardmax(graph: onnx.GraphProto) -> None:
    """Let each Hardmax read a matrix, whose rows are what it was over."""
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _write_out_hardmax(attribute.g)
        if node.op_type != "Hardmax":
            nodes.append(node)
            continue
        axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
        data, result = node.input[0], node.output[0]
        rows, largest, shape = (f"{result}_{part}" for part in ("rows", "largest", "shape"))
        nodes += [
            helper.make_node("Flatten", [data], [rows], axis=axis),
            helper.make_node("Hardmax", [rows], [largest], name=node.name, axis=1),
            helper.make_node("Shape", [data], [shape]),
            helper.make_node("Reshape", [largest, shape], [result]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
