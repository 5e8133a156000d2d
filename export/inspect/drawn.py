"""The graph of a file as it is drawn: its nodes in order, and whose results each takes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgeconv.export.inspect.onnx_graph import Model
from edgeconv.export.inspect.tflite_graph import IDENTIFIER


class Region(Enum):
    """What a node computes in; ``BORDER`` is an input, an output or a conversion."""

    INTEGER = "integer"
    FLOAT = "float"
    BORDER = "border"


@dataclass(frozen=True)
class DrawnNode:
    """One row of the drawing.

    Attributes:
        operator: Its operator; "input" and "output" for those of the graph.
        name: Its name, or that of its first result.
        result: Shape and type of its first result, such as "1×8×8×16 int8".
        region: What it computes in.
        sources: The rows, all above, whose results it takes; constants are left out.
    """

    operator: str
    name: str
    result: str
    region: Region
    sources: tuple[int, ...]


def drawn_nodes(path: Path) -> list[DrawnNode]:
    """The nodes of the main graph of a file.

    Raises:
        DataError: The file is damaged.
    """
    data = path.read_bytes()
    if data[4:8] == IDENTIFIER:
        return _tflite_nodes(data, str(path))
    from edgeconv.export.inspect.onnx_graph import read_model

    return _onnx_nodes(read_model(data, path))


class _Rows:
    """The rows so far, and which row wrote a tensor."""

    def __init__(self) -> None:
        self.nodes: list[DrawnNode] = []
        self._writers: dict[str | int, int] = {}

    def add(
        self,
        head: tuple[str, str, str],
        region: Region,
        inputs: tuple[str, ...] | tuple[int, ...],
        outputs: tuple[str, ...] | tuple[int, ...],
    ) -> None:
        sources = {self._writers[each] for each in inputs if each in self._writers}
        self.nodes.append(DrawnNode(*head, region, tuple(sorted(sources))))
        self._writers.update(dict.fromkeys(outputs, len(self.nodes) - 1))


def _result(shape: tuple[int, ...] | tuple[int | str, ...] | None, dtype: str) -> str:
    sizes = "?" if shape is None else "×".join(map(str, shape)) or "scalar"
    return f"{sizes} {dtype}"


def _tflite_nodes(data: bytes, where: str) -> list[DrawnNode]:
    from edgeconv.export.inspect.tflite_graph import Tensor, read_model

    graph, rows = read_model(data, where).graphs[0], _Rows()

    def head(operator: str, tensor: Tensor) -> tuple[str, str, str]:
        return operator, tensor.name, _result(tensor.shape, tensor.dtype)

    for index in graph.inputs:
        rows.add(head("input", graph.tensors[index]), Region.BORDER, (), (index,))
    for operator in graph.operators:
        given = [graph.tensors[index] for index in operator.inputs if index >= 0]
        results = [graph.tensors[index] for index in operator.outputs]
        if not results:
            continue
        moving = [tensor for tensor in given if not tensor.stored] + results
        region = Region.INTEGER
        if operator.name in ("QUANTIZE", "DEQUANTIZE"):
            region = Region.BORDER
        elif any("float" in tensor.dtype for tensor in moving):
            region = Region.FLOAT
        rows.add(head(operator.name, results[0]), region, operator.inputs, operator.outputs)
    for index in graph.outputs:
        rows.add(head("output", graph.tensors[index]), Region.BORDER, (index,), ())
    return rows.nodes


def _onnx_nodes(model: Model) -> list[DrawnNode]:
    from edgeconv.export.inspect.onnx_quantization import analyze

    found, rows = analyze(model), _Rows()
    for border in model.inputs:
        if border.name not in model.constants:
            head = "input", border.name, _result(border.shape, border.dtype)
            rows.add(head, Region.BORDER, (), (border.name,))
    for node in model.nodes:
        if node.nested or not node.outputs or found.constants.issuperset(node.outputs):
            continue
        region = Region.INTEGER
        if node.operator in ("QuantizeLinear", "DequantizeLinear"):
            region = Region.BORDER
        elif not found.floats.isdisjoint(node.outputs):
            region = Region.FLOAT
        value = model.values.get(node.outputs[0])
        result = "" if value is None else _result(value.shape, value.dtype)
        head = node.operator, node.name or node.outputs[0], result
        rows.add(head, region, node.inputs, node.outputs)
    for border in model.outputs:
        head = "output", border.name, _result(border.shape, border.dtype)
        rows.add(head, Region.BORDER, (border.name,), ())
    return rows.nodes
