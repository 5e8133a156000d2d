"""The nodes of an ONNX file one by one: what each costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeconv.export.inspect.onnx_file import macs_of, weights_of
from edgeconv.export.inspect.onnx_graph import read_model


@dataclass(frozen=True)
class Layer:
    """One node.

    Attributes:
        name: The node's name, or else that of its first output.
        operator: Its operator.
        shape: The shape of its first output; None if it is not known.
        parameters: The elements of its own weights and biases.
        macs: Its multiply-accumulate operations; None if they are not known.
    """

    name: str
    operator: str
    shape: tuple[int, ...] | None
    parameters: int
    macs: int | None


def onnx_layers(path: Path) -> list[Layer]:
    """The nodes of a file in their order.

    Raises:
        DataError: The file is not a whole ONNX file.
    """
    model = read_model(path.read_bytes(), path)
    layers = []
    for node in model.nodes:
        if not node.outputs:
            continue
        value = model.values.get(node.outputs[0])
        layers.append(
            Layer(
                name=node.name or node.outputs[0],
                operator=node.operator,
                shape=None if value is None else value.shape,
                parameters=sum(model.constants[name].elements for name in weights_of(model, node)),
                macs=macs_of(model, node),
            )
        )
    return layers
