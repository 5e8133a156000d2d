"""The bodies of functions: a model's own, and those that ONNX states for its operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_ir as ir
from onnx import defs

Attributes = Mapping[str, ir.Attr]
Opsets = Mapping[str, int]


def as_proto(
    node: ir.Node, inputs: Sequence[ir.Value | None], attributes: Attributes
) -> onnx.NodeProto:
    """``node`` with other inputs and attributes, as onnx reads it."""
    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    proto.input.extend("" if value is None else value.name or "" for value in inputs)
    proto.output.extend(value.name or "" for value in node.outputs)
    proto.attribute.extend(ir.serde.serialize_attribute(item) for item in attributes.values())
    return proto


def type_proto(value: ir.Value | None) -> onnx.TypeProto:
    """Element type and shape of a value; empty for an input that is left out."""
    if value is None or value.type is None:
        return onnx.TypeProto()
    return ir.serde.serialize_value(value).type


def function_of(
    node: ir.Node,
    inputs: Sequence[ir.Value | None],
    attributes: Attributes,
    own: Mapping[ir.OperatorIdentifier, ir.Function],
    opsets: Opsets,
) -> ir.Function | None:
    """Find the function that ``node`` calls, among the model's ``own`` and those of the standard.

    Returns:
        None if it has none.
    """
    called = own.get((node.domain, node.op_type, node.overload))
    if called is not None:
        return called
    found: Any = schema_of(node, opsets)  # onnx states no types for the functions of a schema
    if found is None:
        return None
    version = opsets.get(node.domain, found.since_version)
    proto = onnx.FunctionProto()
    dependent = [at for at in found.context_dependent_function_opset_versions if at <= version]
    fixed = [at for at in found.function_opset_versions if at <= version]
    if dependent:
        text = as_proto(node, inputs, attributes).SerializeToString()
        types = [type_proto(value).SerializeToString() for value in inputs]
        body = found.get_context_dependent_function_with_opset_version(max(dependent), text, types)
        proto.ParseFromString(body)
    elif fixed:
        proto.ParseFromString(found.get_function_with_opset_version(max(fixed)))
    return ir.serde.deserialize_function(_complete(proto)) if proto.node else None


def _complete(proto: onnx.FunctionProto) -> onnx.FunctionProto:
    """A body may leave out results that the call leaves out: let another stand for them."""
    made = {name for node in proto.node for name in node.output} | set(proto.input)
    some = next(name for name in proto.output if name in made)
    names = [name if name in made else some for name in proto.output]
    del proto.output[:]
    proto.output.extend(names)
    return proto


def schema_of(node: ir.Node, opsets: Opsets) -> defs.OpSchema | None:
    """What the standard says of an operator; None where it does not know it."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        return defs.get_schema(node.op_type, opsets.get(domain, 1), domain)
    except defs.SchemaError:
        return None


def arguments(
    function: ir.Function, node: ir.Node, attributes: Attributes, opsets: Opsets
) -> Attributes:
    """What the attributes of a function are in a call: as stated, or by default."""
    schema = schema_of(node, opsets)
    stated = {} if schema is None else schema.attributes
    defaults = {
        name: ir.serde.deserialize_attribute(item.default_value)
        for name, item in stated.items()
        if item.default_value.type
    }
    own = {name: item for name, item in function.attributes.items() if item.value is not None}
    return {**defaults, **own, **attributes}


def resolved(node: ir.Node, given: Attributes) -> Attributes:
    """The attributes of a node in a function that is called with the attributes ``given``."""
    found: dict[str, ir.Attr] = {}
    for name, item in node.attributes.items():
        if not item.is_ref():
            found[name] = item
        elif item.ref_attr_name is not None and item.ref_attr_name in given:
            value = given[item.ref_attr_name]
            found[name] = ir.Attr(name, value.type, value.value)
    return found
