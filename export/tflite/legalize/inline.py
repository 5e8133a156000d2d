"""Inlines functions, resolves If, unrolls Loop and Scan, and writes operators as others.

One pass through the graph, as a runtime would make it, with shapes in place of data: what depends
on constants only is computed, every other node is kept and gets the shape that follows from its
inputs. So a loop of known length becomes its iterations, a branch with a known condition becomes
the side that is taken, and a function becomes its body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.control_flow import CONTROL
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.legalize.functions import arguments, function_of, resolved
from edgeconv.export.tflite.legalize.new_graph import Frame, NewGraph
from edgeconv.export.tflite.legalize.no_ops import forwarded_input
from edgeconv.export.tflite.registry import STANDARD, decomposition, is_known


def inline_and_unroll(model: ir.Model) -> ir.Model:
    """Return ``model`` without functions, branches and loops, with every shape that can be known.

    A model in which nothing has to be written out is returned as it is; it is never changed.

    Raises:
        UnsupportedOperator: A loop has too many iterations, or the network computes their number;
            or it computes the condition of a branch whose sides differ in shape.
    """
    return _Inliner(model).run() if any(map(_needs, model.graph)) else model


def _needs(node: ir.Node) -> bool:
    constant = all(value is None or value.const_value is not None for value in node.inputs)
    call = Call(node, node.inputs, node.attributes)
    if not is_known(node) or (decomposition(call) is not None and not constant):
        return True
    named = [value for value in node.outputs if value.name]
    return any(value.shape is None or not value.shape.is_static() for value in named)


class _Inliner:
    """Visits the nodes of a model in their order and writes the new graph."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._new = NewGraph([value.name or "" for value in model.graph.outputs])

    def run(self) -> ir.Model:
        graph = self._model.graph
        inputs = [self._new.input(value) for value in graph.inputs]
        frame = Frame("", graph.opset_imports, {})
        for node in graph:
            self._visit(node, frame)
        outputs = [self._new.output(value) for value in graph.outputs]
        whole = self._new.finish(graph.name, graph.opset_imports, inputs, outputs)
        return ir.Model(whole, ir_version=self._model.ir_version)

    def _visit(self, node: ir.Node, frame: Frame) -> None:
        inputs = [self._new.now(value) for value in node.inputs]
        results = self._place(Call(node, inputs, resolved(node, frame.given)), frame)
        for value, result in zip(node.outputs, results, strict=False):
            self._new.bind(value, result)

    def _place(self, call: Call, frame: Frame) -> list[ir.Value | None]:
        """Write out a node; returns its results."""
        node, inputs, attributes = call.node, call.inputs, call.attributes
        write = CONTROL.get(node.op_type) if node.domain in STANDARD else None
        if write is not None:
            return write(self._new, self._body, call, frame.inside(node))
        compose = decomposition(call)
        if compose is not None and not all(self._new.is_known(value) for value in inputs):
            return [*compose(Decomposer(self._new, self._place, call, frame.writing(node)))]
        if not is_known(node):
            function = function_of(node, inputs, attributes, self._model.functions, frame.opsets)
            if function is not None:
                given = arguments(function, node, attributes, frame.opsets)
                opsets = {**frame.opsets, **function.opset_imports}
                inner = frame.writing(node) if node.domain in STANDARD else frame.inside(node)
                return self._body(function, inputs, replace(inner, opsets=opsets, given=given))
        same = forwarded_input(node.op_type, inputs, self._new.elements)
        return [*self._new.add(node, inputs, attributes, frame)] if same is None else [same]

    def _body(
        self, body: ir.Graph | ir.Function, inputs: Sequence[ir.Value | None], frame: Frame
    ) -> list[ir.Value | None]:
        """Write out the nodes of a body for these inputs; returns its outputs."""
        missing = [None] * (len(body.inputs) - len(inputs))
        for value, given in zip(body.inputs, [*inputs, *missing], strict=True):
            self._new.bind(value, given)
        for node in body:
            self._visit(node, frame)
        return [self._new.now(value) for value in body.outputs]
