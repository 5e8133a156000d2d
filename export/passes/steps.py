"""Lists of passes: what is done to a whole graph, in which order, and why in that order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes.inherited_names import InheritedNames


@dataclass(frozen=True)
class Step:
    """A pass in a list.

    Attributes:
        reason: why it stands at this place.
        first_opset: the first opset in which the operators that it writes exist.
    """

    rewrite: ir.passes.PassBase
    reason: str
    first_opset: int = 0

    def applies_to(self, model: ir.Model) -> bool:
        """Whether the opset of ``model`` has the operators that this step writes."""
        return model.graph.opset_imports.get("", 0) >= self.first_opset


def run(model: ir.Model, steps: Iterable[Step]) -> ir.Model:
    """Run the steps that the opset of ``model`` allows; nodes that they make inherit names.

    ``ir.passes.Sequential`` would wrap the errors that a pass has for the user into its own.
    """
    for step in steps:
        if step.applies_to(model):
            names = InheritedNames(model.graph)
            model = step.rewrite(model).model
            names.pass_on(model.graph)
    return model


class NodePass(ir.passes.InPlacePass):
    """Replaces single nodes, each with what stands around it, until none is left."""

    @abstractmethod
    def applies(self, node: ir.Node) -> bool:
        """Whether ``node`` is one to replace."""

    @abstractmethod
    def replace(self, editor: GraphEditor, node: ir.Node) -> None:
        """Replace a node to which the pass applies."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replace nodes in the order of the graph."""
        editor = GraphEditor(model.graph)
        modified = False
        while found := [node for node in model.graph if self.applies(node)]:
            for node in found:
                if node.graph is not None and self.applies(node):
                    self.replace(editor, node)
            modified = True
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that the pass applies to no node any more."""
        left = next((node for node in model.graph if self.applies(node)), None)
        if left is not None:
            raise broken(self, f"it left {left.name} ({left.op_type})")


def broken(rewrite: ir.passes.PassBase, what: str) -> ir.passes.PostconditionError:
    """The error of a pass that did not do what it ensures."""
    return ir.passes.PostconditionError(f"{type(rewrite).__name__}: {what}")
