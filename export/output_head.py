"""What a file makes of the scores of classes: probabilities, or the label.

The operators are put behind a finished graph. A network is therefore quantized for its scores,
whatever its file makes of them: labels alone would not show how much is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.bundle import OutputKind, TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.graph_edit import GraphEditor, describe

_PROBABILITIES = ("Softmax", "Sigmoid")
# What TFLite's specification sets for a Softmax in int8.
_STEP, _ZERO = 1 / 256, -128


@dataclass(frozen=True)
class OutputHead:
    """The operators behind the scores.

    Attributes:
        kind: Probabilities or the label.
        classes: The number of scores.
    """

    kind: OutputKind
    classes: int

    def apply(self, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What becomes of scores, in their own type."""
        if self.kind is OutputKind.LABEL:
            return np.asarray(scores.argmax(1), np.int64)
        exponentials = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(1, keepdims=True))

    def behind(self, model: ir.Model, *, integer: bool = False) -> ir.Model:
        """A copy of a graph with the operators behind it.

        Args:
            model: The graph, whose only output is float.
            integer: Whether probabilities become integers, which a file can have as its output.
        """
        model = model.clone()
        graph, editor = model.graph, GraphEditor(model.graph)
        scores = graph.outputs[0]
        name, scores.name = str(scores.name), editor.free_name(f"{scores.name}_scores")
        if self.kind is OutputKind.LABEL:
            node = ir.node("ArgMax", [scores], attributes={"axis": 1, "keepdims": 0})
            rows = None if scores.shape is None else scores.shape[:1]
            describe(node.outputs[0], scores, shape=rows, dtype=ir.DataType.INT64)
        else:
            node = ir.node("Softmax", [scores], attributes={"axis": 1})
            describe(node.outputs[0], scores)
        nodes = [node]
        if integer and self.kind is OutputKind.PROBABILITIES:
            scale = editor.constant(f"{name}_scale", np.float32(_STEP))
            zero_point = editor.constant(f"{name}_zero_point", np.int8(_ZERO))
            for operator, dtype in (
                ("QuantizeLinear", ir.DataType.INT8),
                ("DequantizeLinear", ir.DataType.FLOAT),
            ):
                nodes.append(ir.node(operator, [nodes[-1].outputs[0], scale, zero_point]))
                describe(nodes[-1].outputs[0], scores, dtype=dtype)
        for made in nodes[:-1]:
            made.outputs[0].name = editor.free_name(f"{name}_{made.op_type.lower()}")
        nodes[-1].outputs[0].name = name
        for made in nodes:
            made.name = made.outputs[0].name
        graph.extend(nodes)
        graph.outputs[0] = nodes[-1].outputs[0]
        return model


def output_head(
    kind: OutputKind | None, model: ir.Model, outputs: tuple[TensorInfo, ...], network: str
) -> OutputHead | None:
    """What has to be put behind a graph for an output of a kind; None where it has it already.

    Args:
        kind: What is asked for, if anything.
        model: The graph.
        outputs: Its outputs.
        network: Its name, for the message.

    Raises:
        UsageError: The outputs are not the scores of classes, or the network has probabilities
            and no scores.
    """
    if kind is None:
        return None
    shape = outputs[0].shape if len(outputs) == 1 else ()
    if len(shape) != 2 or shape[1] < 2 or outputs[0].dtype != "float32":
        found = "; ".join(f"{info.name!r} of {list(info.shape)}" for info in outputs)
        raise UsageError(
            f"--output {kind.value} takes one output with a score for each class, and those of "
            f"{network} are {found}",
            hint="leave --output out",
        )
    last = model.graph.outputs[0].producer()
    already = last is not None and last.op_type in _PROBABILITIES
    if kind is OutputKind.LOGITS and already and last is not None:
        before = last.inputs[0]
        raise UsageError(
            f"{network} computes probabilities itself ({last.name} is a {last.op_type})",
            hint=f"for what is before it, pass --cut-outputs {before.name if before else ''}",
        )
    if kind is OutputKind.LOGITS or (kind is OutputKind.PROBABILITIES and already):
        return None
    return OutputHead(kind, shape[1])
