"""What a file makes of the scores of classes: probabilities, the label, or the best five.

The operators are put behind a finished graph. A network is therefore quantized for its scores,
whatever its file makes of them: labels alone would not show how much is lost.

The classes are ranked by their scores: int8 rounds the probabilities of most classes to zero. Of
equal scores that of the lower index comes first, in ONNX, in TFLite and here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.bundle import OutputKind, TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.graph_edit import GraphEditor, describe

_PROBABILITIES = ("Softmax", "Sigmoid")
_TOP = 5
# What TFLite's specification sets for a Softmax in int8.
_STEP, _ZERO = np.float32(1 / 256), np.int8(-128)


@dataclass(frozen=True)
class OutputHead:
    """The operators behind the scores.

    Attributes:
        kind: Probabilities, the label, or the best five.
        classes: The number of scores.
        normalized: Whether the scores are probabilities already.
    """

    kind: OutputKind
    classes: int
    normalized: bool = False

    def apply(self, scores: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """What becomes of scores, in their own type."""
        if self.kind is OutputKind.LABEL:
            return [np.asarray(scores.argmax(1), np.int64)]
        probabilities = scores if self.normalized else _softmax(scores)
        if self.kind is OutputKind.PROBABILITIES:
            return [probabilities]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :_TOP]
        return [best, np.take_along_axis(probabilities, best, 1)]

    def behind(self, model: ir.Model, *, integer: bool = False) -> ir.Model:
        """A copy of a graph with the operators behind it.

        Args:
            model: The graph, whose only output is float.
            integer: Whether probabilities become integers, which a file can have as its output.
        """
        model = model.clone()
        graph = model.graph
        scores = graph.outputs[0]
        behind = _Behind(graph, scores)
        if self.kind is OutputKind.LABEL:
            label = behind.label(_ranked(scores))
            graph.outputs[:] = [behind.named(label)]
            return model
        probabilities = scores if self.normalized else behind.softmax(scores)
        if integer and not self.normalized:
            probabilities = behind.rounded(probabilities)
        if self.kind is OutputKind.PROBABILITIES:
            graph.outputs[:] = [behind.named(probabilities)]
            return model
        # Softmax keeps the order: the largest probabilities are those of the largest scores.
        _, classes = behind.best(_ranked(scores))
        largest, _ = behind.best(probabilities)
        if integer:
            largest = behind.rounded(largest)
        graph.outputs[:] = [behind.named(classes, "_classes"), behind.named(largest)]
        return model


class _Behind:
    """Appends nodes to a graph, whose output they replace."""

    def __init__(self, graph: ir.Graph, scores: ir.Value) -> None:
        self._graph, self._editor = graph, GraphEditor(graph)
        self._scores, self._name = scores, str(scores.name)
        scores.name = self._editor.free_name(f"{self._name}_scores")
        self._rows = None if scores.shape is None else scores.shape[:1]

    def named(self, value: ir.Value, suffix: str = "") -> ir.Value:
        """A value under the name that the output had."""
        value.name = self._free(suffix) if suffix else self._name
        return value

    def softmax(self, scores: ir.Value) -> ir.Value:
        """The probabilities."""
        (result,) = self._append("Softmax", [scores], axis=1)
        return result

    def label(self, scores: ir.Value) -> ir.Value:
        """The index of the best class."""
        (result,) = self._append("ArgMax", [scores], axis=1, keepdims=0)
        describe(result, self._scores, shape=self._rows, dtype=ir.DataType.INT64)
        return result

    def best(self, scores: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The largest values, the first one first, and their indices."""
        count = self._editor.constant(f"{self._name}_k", np.array([_TOP]))
        values, indices = self._append("TopK", [scores, count], outputs=2, axis=1)
        shape = None if self._rows is None else (*self._rows, _TOP)
        describe(values, self._scores, shape=shape)
        describe(indices, self._scores, shape=shape, dtype=ir.DataType.INT64)
        return values, indices

    def rounded(self, probabilities: ir.Value) -> ir.Value:
        """Probabilities as integers mean them."""
        scale = self._editor.constant(f"{self._name}_scale", _STEP)
        zero_point = self._editor.constant(f"{self._name}_zero_point", _ZERO)
        value = probabilities
        for operator, dtype in (
            ("QuantizeLinear", ir.DataType.INT8),
            ("DequantizeLinear", ir.DataType.FLOAT),
        ):
            (value,) = self._append(operator, [value, scale, zero_point])
            describe(value, probabilities, dtype=dtype)
        return value

    def _append(
        self, operator: str, inputs: Sequence[ir.Value], *, outputs: int = 1, **attributes: int
    ) -> Sequence[ir.Value]:
        """Append a node, whose results are like the scores until they are described."""
        name = self._free(f"_{operator.lower()}")
        node = ir.node(operator, inputs, attributes=attributes, num_outputs=outputs, name=name)
        for index, value in enumerate(node.outputs):
            value.name = name if index == 0 else self._free(f"_{operator.lower()}_{index}")
            describe(value, self._scores)
        self._graph.append(node)
        return node.outputs

    def _free(self, suffix: str) -> str:
        return self._editor.free_name(f"{self._name}{suffix}")


def _softmax(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def _ranked(scores: ir.Value) -> ir.Value:
    """What has the order of the classes: what is behind is rounded where it is quantized.

    A network's own Softmax in int8 leaves zero for most classes, and the values that it reads tell
    them apart.
    """
    dequantize = scores.producer()
    if dequantize is None or dequantize.op_type != "DequantizeLinear":
        return scores
    quantize = dequantize.inputs[0]
    quantizer = None if quantize is None else quantize.producer()
    rounded = None if quantizer is None else quantizer.inputs[0]
    softmax = None if rounded is None else rounded.producer()
    if softmax is None or softmax.op_type not in _PROBABILITIES:
        return scores
    before = softmax.inputs[0]
    return scores if before is None else before


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
        UsageError: The outputs are not the scores of classes, or too few for the best five; or the
            network has probabilities and no scores.
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
    if kind is OutputKind.TOP5 and shape[1] <= _TOP:
        raise UsageError(
            f"--output top5 is for more than five classes, and {network} has {shape[1]}",
            hint="pass --output probabilities, or --output label",
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
    return OutputHead(kind, shape[1], normalized=already)
