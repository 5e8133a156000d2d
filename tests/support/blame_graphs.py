"""Small convolutional networks as ONNX files, with one fault that blame has to find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Bundle, Format, Precision
from edgeconv.export import export
from edgeconv.models.randomize import structured_input

CHANNELS, SIZE, SAMPLES = 8, 12, 12
Weights = dict[str, NDArray[np.float32]]


def weights(seed: int = 0) -> Weights:
    """Draw the weights and biases of three convolutions: one of 3×3 and two of 1×1."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (CHANNELS, 3, 3, 3), "b": (CHANNELS, CHANNELS, 1, 1), "c": (4, CHANNELS, 1, 1)}
    made: Weights = {}
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[1:]))
        made[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        made[f"{name}.bias"] = rng.normal(0.3, 0.1, shape[0]).astype(np.float32)
    return made


def save(path: Path, parameters: Weights, *, node_names: bool = True) -> Path:
    """Write the network a, Relu, b, Relu, c as an ONNX file."""

    def named(name: str) -> str:
        return name if node_names else ""

    def conv(name: str, x: str) -> onnx.NodeProto:
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        side = parameters[f"{name}.weight"].shape[-1]
        pads = [side // 2] * 4
        return helper.make_node("Conv", inputs, [f"{name}_out"], name=named(name), pads=pads)

    nodes = [
        conv("a", "x"),
        helper.make_node("Relu", ["a_out"], ["a_relu"], name=named("relu_a")),
        conv("b", "a_relu"),
        helper.make_node("Relu", ["b_out"], ["b_relu"], name=named("relu_b")),
        conv("c", "b_relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("c_out", TensorProto.FLOAT, [1, 4, SIZE, SIZE])],
        [numpy_helper.from_array(array, name) for name, array in parameters.items()],
    )
    # ONNX Runtime may lag behind the IR version that onnx writes by itself.
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    onnx.save(model, path)
    return path


def data(path: Path, x: NDArray[np.float32] | None = None) -> Path:
    """Write structured images, or the given ones, as an ``.npz``."""
    if x is None:
        x = structured_input((SAMPLES, 3, SIZE, SIZE), seed=1).numpy()
    np.savez(path, x=x)
    return path


def float_bundle(folder: Path, parameters: Weights, *, node_names: bool = True) -> Bundle:
    file = save(folder / "small.onnx", parameters, node_names=node_names)
    return export(
        file, out=folder / "bundle", formats=[Format.ONNX], precisions=[Precision.FLOAT32]
    )
