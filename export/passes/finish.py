"""What a float graph is given when it is finished: names, and the versions of its file."""

from __future__ import annotations

import onnx_ir as ir

from edgeconv.export.graph_edit import describe
from edgeconv.export.passes.steps import broken

# The lowest IR version that goes with each opset (ONNX's own Versioning table), so that the
# oldest runtime that knows the opset loads the file.
_IR_VERSION = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


class NameNodes(ir.passes.InPlacePass):
    """Gives each node without a name that of its first result."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Name the nodes, those of bodies included."""
        nameless = [node for node in model.graph.all_nodes() if not node.name]
        for node in nameless:
            node.name = node.outputs[0].name
        return ir.passes.PassResult(model, modified=bool(nameless))

    def ensures(self, model: ir.Model) -> None:
        """Ensure that messages can name every node."""
        if not all(node.name for node in model.graph.all_nodes()):
            raise broken(self, "a node has no name")


class PartBodyOutputs(ir.passes.InPlacePass):
    """Gives each output of a body a value of its own.

    ONNX Runtime 1.31 computes wrong numbers for a Scan whose body gives one value twice, and a body
    must not give what the graph around it computes, which is left of an Identity in a branch.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Put an Identity in front of outputs that are an earlier one, or are of another graph."""
        modified = False
        for graph in model.graphs():
            seen: set[ir.Value | None] = set()
            for index, value in enumerate(graph.outputs):
                producer = value.producer()  # `value.graph` is the body that gives it
                outside = producer is not None and producer.graph is not graph
                if (value in seen or outside) and graph is not model.graph:
                    node = ir.node("Identity", [value])
                    graph.append(node)
                    describe(node.outputs[0], value)
                    node.outputs[0].name = f"{value.name}_{index}_again"
                    graph.outputs[index] = node.outputs[0]
                    modified = True
                seen.add(value)
        return ir.passes.PassResult(model, modified)


class StateVersions(ir.passes.InPlacePass):
    """States the lowest IR version of the opset, and this project as the producer."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """State them."""
        model.ir_version = _IR_VERSION[model.graph.opset_imports[""]]
        model.producer_name = "edgeconv"
        model.producer_version = None
        return ir.passes.PassResult(model, modified=True)
