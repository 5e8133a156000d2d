"""Layers that share weights or their zero points are exact on ONNX Runtime, on every processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.precision import state_pooled_scales
from edgeconv.export.runtimes import open_session
from edgeconv.runner.onnx_model import OnnxModel
from support.runtimes import Array

SHARED = ["weight", "zero point", "step", "none"]
STEP = np.float32(300)
X = np.random.default_rng(1).choice([-128, 127, 100, -90], (4, 64)).astype(np.float32)
W = np.random.default_rng(0).choice([-127, 127, 100], (64, 32)).astype(np.int8)


def two_layers(shared: str) -> onnx.ModelProto:
    """Two products of one input with the largest int8 weights; "none" leaves zero points out."""
    constants: dict[str, Array] = {
        **{name: np.asarray(value) for name, value in (("one", np.float32(1)), ("step", STEP))},
        **{"ones": np.ones(32, np.float32), "zero": np.asarray(np.uint8(128))},
        **{"w0": W, "w1": -W, "z0": np.zeros(32, np.int8), "z1": np.zeros(32, np.int8)},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero"], ["r"]),
    ]
    for i in "01":
        weight = "w0" if shared == "weight" else f"w{i}"
        zeros = [] if shared == "none" else ["z0" if shared == "zero point" else f"z{i}"]
        if not (shared == "step" and i == "1"):
            inputs = [weight, "ones", *zeros]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [f"v{i}"], axis=1))
        nodes += [
            helper.make_node("MatMul", ["r", "v0" if shared == "step" else f"v{i}"], [f"p{i}"]),
            helper.make_node("QuantizeLinear", [f"p{i}", "step", "zero"], [f"n{i}"]),
            helper.make_node("DequantizeLinear", [f"n{i}", "one", "zero"], [f"y{i}"]),
        ]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, (4, 32)) for i in "01"],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def assert_exact(found: list[Array], shared: str) -> None:
    product = X.astype(float) @ W.astype(float)
    second = product if shared in ("weight", "step") else -product
    for array, expected in zip(found, (product, second), strict=True):
        # A tie may be rounded to either side.
        assert abs(array - np.clip(np.rint(expected / STEP), -128, 127)).max() <= 1


def on_runner(path: Path) -> list[Array]:
    model = OnnxModel(onnxruntime, str(path), threads=1)
    model.feed([X])
    model.inference()()
    return [array for _, array in model.outputs()]


@pytest.mark.parametrize("shared", SHARED)
def test_files_of_other_tools_are_read(shared: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(two_layers(shared), path)
    for model in (path, path.read_bytes()):
        assert_exact(open_session(model).run(None, {"x": X}), shared)
    on_runner(path)  # which may saturate, as ONNX Runtime does by itself, and refuses nothing


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    onnx.save(
        two_layers("weight"),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    assert_exact(open_session(tmp_path / "net.onnx").run(None, {"x": X}), "weight")


@pytest.mark.parametrize("shared", SHARED)
def test_files_that_are_written_share_none(shared: str, tmp_path: Path) -> None:
    model = ir.from_proto(two_layers(shared))
    state_pooled_scales(model)
    path = tmp_path / "net.onnx"
    onnx.save(ir.to_proto(model), path)
    graph = onnx.load(path).graph
    weights = {each.name for each in graph.initializer if each.data_type == TensorProto.INT8}
    steps = [node for node in graph.node if node.input[0] in weights]
    assert len({name for node in steps for name in (node.input[0], node.input[2])}) == 4
    assert_exact(on_runner(path), shared)
