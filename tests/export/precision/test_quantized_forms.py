"""QDQ graphs in the forms that other tools write: clips on codes, scales of one element, views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export import export
from edgeconv.export.runtimes import open_runner

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
WEIGHT = (RNG.standard_normal((6, 3, 3, 3)) * 0.3).astype(np.float32)
DENSE = RNG.integers(-127, 128, (96, 4)).astype(np.int8)


class Qdq:
    """A network of a convolution and a dense layer, whose scales are stated in some form."""

    def __init__(self, dtype: str, opset: int, *, rank: int = 0) -> None:
        self.dtype, self.opset, self.rank = np.dtype(dtype), opset, rank
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        result = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [result], **attributes))
        return result

    def quantized(self, value: str, scale: float, clip: tuple[int, int] | None = None) -> str:
        middle = 128 if self.dtype == np.uint8 else 0
        shape = (1,) * self.rank
        pair = (
            self.constant(np.full(shape, scale, np.float32)),
            self.constant(np.full(shape, middle, self.dtype)),
        )
        codes = self.op("QuantizeLinear", value, *pair)
        if clip is not None:
            bounds = (self.constant(self.dtype.type(bound)) for bound in clip)
            codes = self.op("Clip", codes, *bounds)
        return self.op("DequantizeLinear", codes, *pair)

    def save(self, path: Path, result: str, shape: tuple[int, ...]) -> Path:
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 6, 6))],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
        return path

    def convolved(self, value: str) -> str:
        scales = (np.abs(WEIGHT).max((1, 2, 3)) / 127).astype(np.float32)
        codes = np.rint(WEIGHT / scales[:, None, None, None]).astype(np.int8)
        weight = self.op("DequantizeLinear", self.constant(codes), self.constant(scales), axis=0)
        return self.op("Conv", value, weight)

    def dense(self, value: str) -> str:
        weight = self.op("DequantizeLinear", self.constant(DENSE), self.constant(np.float32(0.01)))
        return self.op("MatMul", value, weight)


def check(path: Path, folder: Path, step: float) -> None:
    bundle = export(path, out=folder)
    sample = RNG.standard_normal((1, 3, 6, 6)).astype(np.float32) * 2
    # Optimized, ONNX Runtime refuses a Reshape of int8 of opset 21.
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    (expected,) = ort.InferenceSession(str(path), options).run(None, {"x": sample})
    assert len(bundle.manifest.artifacts) == 2
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        (got,) = open_runner(file, artifact.format, artifact.inputs, artifact.outputs).run([sample])
        error = np.abs(got - expected)
        assert error.max() <= step * 1.01
        # The same integers: only a sum that lies between two of them may be rounded otherwise.
        assert np.mean(error > step / 2) < 0.05


@pytest.mark.parametrize("clip", [(-100, 90), (-127, 127), (-128, 127), (0, 7)])
@pytest.mark.parametrize("place", ["input", "result"])
def test_a_clip_of_codes_limits_what_they_mean(
    clip: tuple[int, int], place: str, tmp_path: Path
) -> None:
    net = Qdq("int8", 13)
    x = net.quantized("x", 3 / 127, clip if place == "input" else None)
    y = net.quantized(net.convolved(x), 6 / 127, clip if place == "result" else None)
    check(net.save(tmp_path / "n.onnx", y, (1, 6, 4, 4)), tmp_path / "out", 6 / 127)


@pytest.mark.parametrize("clip", [(10, 200), (0, 255), (128, 143)])
def test_a_clip_of_unsigned_codes(clip: tuple[int, int], tmp_path: Path) -> None:
    net = Qdq("uint8", 13)
    x = net.quantized("x", 3 / 127, clip)
    y = net.quantized(net.convolved(x), 6 / 127, clip)
    check(net.save(tmp_path / "n.onnx", y, (1, 6, 4, 4)), tmp_path / "out", 6 / 127)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_scales_of_one_element_are_scalars(dtype: str, tmp_path: Path) -> None:
    net = Qdq(dtype, 13, rank=1)
    y = net.quantized(net.convolved(net.quantized("x", 3 / 127)), 6 / 127)
    check(net.save(tmp_path / "n.onnx", y, (1, 6, 4, 4)), tmp_path / "out", 6 / 127)


# Every opset with either type and every view, and every view with either type.
@pytest.mark.parametrize(
    ("opset", "view", "dtype"),
    [
        (opset, view, ("int8", "uint8")[(row + column) % 2])
        for row, opset in enumerate((13, 19, 21, 23))
        for column, view in enumerate(("Flatten", "Reshape", "Transpose"))
    ],
)
def test_views_between_quantized_layers(opset: int, dtype: str, view: str, tmp_path: Path) -> None:
    net = Qdq(dtype, opset)
    maps = net.quantized(net.convolved(net.quantized("x", 3 / 127)), 6 / 127)
    if view == "Transpose":
        maps = net.op("Transpose", maps, perm=[0, 2, 1, 3])
    if view == "Flatten":
        rows = net.op("Flatten", maps)
    else:
        rows = net.op("Reshape", maps, net.constant(np.array([1, -1])))
    y = net.quantized(net.dense(rows), 60 / 127)
    check(net.save(tmp_path / "n.onnx", y, (1, 4)), tmp_path / "out", 60 / 127)
