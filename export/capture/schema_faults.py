"""Which node of an invalid ``.onnx`` file is not as the standard says; onnx names its kind only."""

from __future__ import annotations

from pathlib import Path

import onnx

from edgeconv.errors import CaptureError
from edgeconv.export.capture.old_opsets import opset_of
from edgeconv.export.proto_graphs import all_nodes
from edgeconv.near_names import did_you_mean


def schema_fault(proto: onnx.ModelProto, path: Path) -> CaptureError | None:
    """The error for the first node whose operator or attribute its opset does not have, if any.

    Args:
        proto: A file that onnx's checker refuses.
        path: Its path, for the message.
    """
    opset = opset_of(proto)
    if opset > onnx.defs.onnx_opset_version():
        return None
    functions = {(each.domain, each.name) for each in proto.functions}
    for node in all_nodes(proto.graph):
        if node.domain not in ("", "ai.onnx") or (node.domain, node.op_type) in functions:
            continue
        texts = (node.op_type, *(each.name for each in node.attribute))
        if not all(isinstance(text, str) for text in texts):
            return None  # bytes that are no UTF-8, of which onnx has said so
        where = f"{path}: {node.name or next(filter(None, node.output), '')} ({node.op_type})"
        if not onnx.defs.has(node.op_type, ""):
            known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
            return CaptureError(
                f"{where} is not an operator of ONNX",
                hint=did_you_mean(
                    node.op_type,
                    known,
                    "export the network with standard operators only, or write the operator as a "
                    "function of the file",
                ),
            )
        try:
            schema = onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError:
            first = min(
                each.since_version
                for each in onnx.defs.get_all_schemas_with_history()
                if each.name == node.op_type and each.domain == ""
            )
            return CaptureError(
                f"{where} is an operator of opset {first} and later, and the file states opset "
                f"{opset}",
                hint=f"export the network anew with opset {first} or later",
            )
        unknown = [each.name for each in node.attribute if each.name not in schema.attributes]
        if unknown:
            return CaptureError(
                f"{where} has the attribute {unknown[0]!r}, which it does not have in opset "
                f"{opset}",
                hint=did_you_mean(
                    unknown[0],
                    schema.attributes,
                    "leave it out, or state the opset that has it, where the file is made",
                ),
            )
    return None
