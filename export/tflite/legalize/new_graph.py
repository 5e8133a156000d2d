"""The graph that legalization writes: every node that is added is folded or gets its shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.graph_edit import IN_FLOAT
from edgeconv.export.tflite.builder import ORIGIN, Builder, title
from edgeconv.export.tflite.constant_folding import fold_node
from edgeconv.export.tflite.graph import Array
from edgeconv.export.tflite.legalize.functions import (
    Attributes,
    Opsets,
    as_proto,
    schema_of,
    type_proto,
)
from edgeconv.export.tflite.qdq import is_dequantize

LARGEST_SHAPE_CONSTANT = 1024
"""Elements of the largest constant that shape inference sees: axes and sizes, not weights."""


@dataclass(frozen=True)
class Frame:
    """Where a node stands.

    Attributes:
        scope: A prefix of the names of the nodes that are written here.
        opsets: The operator versions.
        given: The attributes of the function around the node.
        origin: The title of the operator that is written as others here, for messages.
    """

    scope: str
    opsets: Opsets
    given: Attributes
    origin: str = ""

    def inside(self, node: ir.Node) -> Frame:
        """Return the place of the nodes in the body of ``node``."""
        label = node.name or next((value.name for value in node.outputs if value.name), "")
        return replace(self, scope=f"{self.scope}{label}/")

    def writing(self, node: ir.Node) -> Frame:
        """The place of the operators that ``node``, an operator of the standard, is written as."""
        return replace(self.inside(node), origin=self.origin or title(node))


class NewGraph:
    """The new graph so far, and what each value of the old one became in it."""

    def __init__(self, taken: Sequence[str]) -> None:
        self._builder = Builder()
        self._nodes: list[ir.Node] = []
        self._initializers: list[ir.Value] = []
        self._became: dict[ir.Value, ir.Value | None] = {}
        self._names = set(taken)

    def finish(
        self,
        name: str | None,
        opsets: Opsets,
        inputs: Sequence[ir.Value],
        outputs: Sequence[ir.Value],
    ) -> ir.Graph:
        """Make the graph of all nodes that were added."""
        return ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports=dict(opsets),
            name=name,
        )

    def input(self, value: ir.Value) -> ir.Value:
        """Add an input like ``value``."""
        copy = ir.Value(
            name=self._unused(value.name or "input"), shape=value.shape, type=value.type
        )
        self._became[value] = copy
        return copy

    def output(self, value: ir.Value) -> ir.Value:
        """A result of the model under its own name."""
        now = self.now(value)
        assert now is not None
        copy = ir.Value(name=value.name, shape=now.shape, type=now.type)
        self._nodes.append(ir.Node("", "Identity", [now], outputs=[copy]))
        return copy

    def now(self, value: ir.Value | None) -> ir.Value | None:
        """Look up what ``value`` is at this point of the pass.

        Initializers are added when they are first used. Inputs with a default are inputs.
        """
        if value is None:
            return None
        if value not in self._became:
            if value.const_value is None:
                raise UnsupportedOperator(
                    f"value {value.name} is used before any node computes it",
                    hint="check the model with onnx.checker",
                )
            self._became[value] = self._keep(value.const_value, value.name or "constant")
        return self._became[value]

    def bind(self, value: ir.Value, now: ir.Value | None) -> None:
        """Record what ``value`` of the old graph is in the new one."""
        self._became[value] = now

    def elements(self, value: ir.Value | None) -> Array | None:
        """The elements of a value of the new graph, if they are known by now."""
        known = None if value is None else self._builder.known(value)
        return None if known is None else known.array

    def is_known(self, value: ir.Value | None) -> bool:
        """Whether ``value`` is constant, or left out."""
        return value is None or self._builder.known(value) is not None

    def constant(self, array: Array, name: str) -> ir.Value:
        """Add an initializer, under a name that is not used yet."""
        return self._keep(ir.tensor(array), self._unused(name))

    def _keep(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        value = ir.Value(
            name=name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._names.add(name)
        self._initializers.append(value)
        return value

    def _unused(self, name: str) -> str:
        found, count = name, 0
        while found in self._names:
            count += 1
            found = f"{name}.{count}"
        self._names.add(found)
        return found

    def emit(
        self, op_type: str, inputs: Sequence[ir.Value], attributes: Sequence[ir.Attr], frame: Frame
    ) -> ir.Value:
        """Add a node with one result that stands in no graph so far."""
        model = ir.Node("", op_type, [], outputs=[ir.Value(name=op_type.lower())])
        named = {item.name: item for item in attributes}
        return self.add(model, inputs, named, frame)[0]

    def add(
        self,
        node: ir.Node,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes,
        frame: Frame,
    ) -> list[ir.Value]:
        """Add a copy of ``node`` with these inputs, or the constants that it amounts to."""
        outputs = [
            ir.Value(
                name=self._unused(f"{frame.scope}{value.name}") if value.name else "",
                shape=value.shape,
                type=value.type,
            )
            for value in node.outputs
        ]
        copy = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            list(attributes.values()),
            outputs=outputs,
            name=f"{frame.scope}{node.name}" if node.name else None,
        )
        if frame.origin:
            copy.meta[ORIGIN] = frame.origin
        if IN_FLOAT in node.meta:
            copy.meta[IN_FLOAT] = node.meta[IN_FLOAT]
        self._infer(copy, frame.opsets)
        if is_dequantize(node) or not fold_node(copy, self._builder, frame.opsets.get("", 20)):
            self._nodes.append(copy)
            return outputs
        for index in range(len(inputs)):
            copy.replace_input_with(index, None)
        return [self._folded(value) for value in outputs]

    def _folded(self, value: ir.Value) -> ir.Value:
        held = self._builder.known(value)
        assert held is not None
        return self._keep(ir.tensor(held.array), value.name or "")

    def _infer(self, node: ir.Node, opsets: Opsets) -> None:
        """Give the outputs of ``node`` the types and shapes that follow from its inputs."""
        schema = schema_of(node, opsets)
        if schema is None:
            return
        used = {value.name or "": value for value in node.inputs if value is not None}
        data = {
            name: ir.serde.serialize_tensor(ir.tensor(array))
            for name, value in used.items()
            if (array := self.elements(value)) is not None and array.size <= LARGEST_SHAPE_CONSTANT
        }
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                as_proto(node, node.inputs, node.attributes),
                {name: type_proto(value) for name, value in used.items()},
                data,
                opset_imports=[onnx.helper.make_opsetid(*item) for item in opsets.items()],
            )
        except Exception:  # what onnx cannot infer, the lowering refuses by name
            return
        for value in node.outputs:
            proto = found.get(value.name or "")
            if proto is None:
                continue
            value.type = ir.serde.deserialize_type_proto_for_type(proto)
            shape = ir.serde.deserialize_type_proto_for_shape(proto)
            if shape is not None and (value.shape is None or shape.is_static()):
                value.shape = shape
