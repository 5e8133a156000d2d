"""A node with the inputs and attributes that it has where it is used."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite.builder import title
from edgeconv.export.tflite.legalize.functions import Attributes


class Call:
    """A node with the inputs and attributes that it has where it is used.

    ``inputs`` has None for an input that is left out.
    """

    def __init__(
        self, node: ir.Node, inputs: Sequence[ir.Value | None], attributes: Attributes
    ) -> None:
        self.node = node
        self.inputs = inputs
        self.attributes = ir.Node(node.domain, node.op_type, (), attributes).attributes

    @property
    def op_type(self) -> str:
        """The operator's name in ONNX."""
        return self.node.op_type

    def takes(self, *types: ir.DataType) -> bool:
        """Whether the first input is of one of the ``types``."""
        return not self.missing(0) and self.input(0).dtype in types

    def missing(self, index: int) -> bool:
        """Whether an input is left out."""
        return index >= len(self.inputs) or self.inputs[index] is None

    def input(self, index: int) -> ir.Value:
        """An input that the operator demands."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.unsupported(f"input {index} is missing", "check the model with onnx.checker")
        return value

    def unsupported(self, what: str, remedy: str) -> UnsupportedOperator:
        """Make the error that says why this node cannot be written, and what to do."""
        return UnsupportedOperator(f"{title(self.node)}: {what}", hint=remedy)
