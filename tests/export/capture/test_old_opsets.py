"""Files of opsets 7 to 12, and files that list their weights among the inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.bundle import Format
from edgeconv.errors import CaptureError
from edgeconv.export import export
from edgeconv.export.capture.old_opsets import convert_opset
from edgeconv.export.runtimes import open_runner
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.metrics import sqnr_db
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)


def reals(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


X = reals(2, 4, 6, 8)
ALL = range(7, 13)


@dataclass(frozen=True)
class Case:
    """A node of an old opset; its inputs are ``x`` and the constants."""

    operator: str
    opsets: Sequence[int] = ALL
    constants: Mapping[str, Array] = field(default_factory=dict)
    x: Array = field(default_factory=lambda: X)
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def model(self, opset: int) -> onnx.ModelProto:
        names = [f"y{index}" for index in range(self.outputs)]
        dtype = helper.np_dtype_to_tensor_dtype(self.x.dtype)
        graph = helper.make_graph(
            [helper.make_node(self.operator, ["x", *self.constants], names, **self.attributes)],
            "g",
            [helper.make_tensor_value_info("x", dtype, self.x.shape)],
            [helper.make_empty_tensor_value_info(name) for name in names],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=opsets, ir_version=8)
        )


def case(
    operator: str,
    opsets: Sequence[int] = ALL,
    constants: Mapping[str, Array] | None = None,
    x: Array = X,
    outputs: int = 1,
    **attributes: Any,
) -> Case:
    return Case(operator, opsets, constants or {}, x, outputs, attributes)


def scales(*numbers: float) -> dict[str, Array]:
    return {"scales": np.array(numbers, np.float32)}


ONE = reals(1, 3, 1, 4)
SEQUENCE = reals(7, 2, 3)
NORM = {"s": reals(4), "b": reals(4), "m": reals(4), "v": np.abs(reals(4)) + np.float32(0.1)}
CASES = [
    *(case(name, axis=1) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    *(case(name, axis=3) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    case("Softmax"),
    case("Flatten", axis=2),
    case("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
    case("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
    case("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    case("MaxPool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("BatchNormalization", constants=NORM, epsilon=1e-3),
    case("Dropout"),
    case("Unsqueeze", axes=[0, 3]),
    case("Squeeze", x=ONE, axes=[0, 2]),
    case("Squeeze", x=ONE),
    *(case(f"Reduce{name}", axes=[2, 3], keepdims=0) for name in ("Mean", "Sum", "Max", "L2")),
    *(case(f"Reduce{name}") for name in ("Mean", "Sum", "Min", "Prod")),
    case("Split", outputs=2, axis=1, split=[1, 3]),
    case("Split", outputs=2, axis=1),
    case("Gemm", constants={"w": reals(5, 8), "c": reals(5)}, x=reals(3, 8), transB=1),
    case("PRelu", constants={"slope": reals(4, 1, 1)}),
    case("LRN", size=3),
    case("ConvTranspose", constants={"w": reals(4, 3, 3, 3)}, strides=[2, 2], pads=[1] * 4),
    case("ArgMax", axis=1),
    case("Gather", constants={"i": np.array([1, 0])}, axis=1),
    case("Cast", to=TensorProto.INT32),
    case("DepthToSpace", blocksize=2),
    case("Pow", constants={"k": np.array(2, np.float32)}),
    case("LSTM", constants={"w": reals(1, 20, 3), "r": reals(1, 20, 5)}, x=SEQUENCE, hidden_size=5),
    case("GRU", constants={"w": reals(1, 15, 3), "r": reals(1, 15, 5)}, x=SEQUENCE, hidden_size=5),
    case("Pad", range(7, 11), pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5),
    case("Pad", range(7, 11), pads=[0, 0, 1, 2, 0, 0, 3, 0], mode="reflect"),
    case("Clip", range(7, 11), min=-0.5, max=0.7),
    case("Clip", range(7, 11), max=0.7),
    case("Slice", range(7, 10), axes=[2, 3], starts=[1, -5], ends=[100, -1]),
    case("TopK", range(7, 10), outputs=2, k=3, axis=2),
    case("Scatter", (9, 10), {"i": np.array([[0, 1]]), "u": reals(1, 2)}, reals(3, 4), axis=1),
    case("OneHot", range(9, 13), {"d": np.array([5]), "k": reals(2)}, np.array([0, 3, 1])),
    *(
        case("Upsample", (7, 8), mode=mode, scales=[1.0, 1.0, height, width])
        for mode in ("nearest", "linear")
        for height, width in ((2.0, 2.0), (1.5, 2.5))
    ),
    *(
        case("Upsample", (9,), scales(1, 1, height, width), mode=mode)
        for mode in ("nearest", "linear")
        for height, width in ((2, 2), (1.5, 2.5), (2.3, 1.7))
    ),
    *(
        case("Resize", (10,), scales(1, 1, height, width), mode=mode)
        for mode in ("nearest", "linear")
        for height, width in ((2, 3), (1.5, 2.5), (0.5, 0.5), (0.6, 0.7))
    ),
    case("Resize", (10,), scales(1, 1, 0.4, 1.7), mode="linear"),
]


@pytest.mark.parametrize("opset", ALL)
def test_every_operator_keeps_its_values(opset: int) -> None:
    for each in CASES:
        if opset not in each.opsets:
            continue
        model = each.model(opset)
        raised = convert_opset(model, 18)
        onnx.checker.check_model(raised)
        for name, expected in run_onnx(model, {"x": each.x}).items():
            got = run_onnx(raised, {"x": each.x})[name]
            assert got.shape == expected.shape, each
            assert np.allclose(got, expected, rtol=1e-6, atol=1e-6), each


def test_a_resize_that_cannot_be_raised_is_refused() -> None:
    model = case("Resize", (10,), scales(1, 1, 0.4, 1.7), mode="nearest").model(10)
    with pytest.raises(CaptureError, match="enlarges one dimension and reduces another"):
        convert_opset(model, 18)


def listed(path: Path, ir_version: int, opset: int) -> tuple[Path, Array]:
    """A convolution and a resize whose weights, shape and scales stand among the inputs."""
    constants = {
        "w": reals(4, 2, 3, 3),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "shape": np.array([1, -1]),
    }
    resize = ["a", "scales"] if opset < 10 else ["a", "", "scales"]
    operator = "Upsample" if opset < 10 else "Resize"
    places = {} if opset < 10 else {"coordinate_transformation_mode": "asymmetric"}
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 6])
    weights = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in constants.items()
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"]),
            helper.make_node(operator, resize, ["b"], mode="linear", **places),
            helper.make_node("Reshape", ["b", "shape"], ["y"]),
        ],
        "g",
        [x, *weights],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 192])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
    onnx.save(model, path)
    sample = reals(1, 2, 5, 6)
    return path, sample


@pytest.mark.parametrize(("ir_version", "opset"), [(3, 9), (3, 7), (7, 13), (8, 17)])
def test_weights_may_be_listed_among_the_inputs(
    ir_version: int, opset: int, tmp_path: Path
) -> None:
    if opset == 7:
        path, sample = listed(tmp_path / "net.onnx", ir_version, 9)
        model = onnx.load(path)
        model.graph.node[1].input.pop()
        model.graph.node[1].attribute.append(helper.make_attribute("scales", [1.0, 1.0, 2.0, 2.0]))
        model.opset_import[0].version = 7
        onnx.save(model, path)
    else:
        path, sample = listed(tmp_path / "net.onnx", ir_version, opset)
    (expected,) = run_onnx(onnx.load(path), {"x": sample}).values()
    np.save(tmp_path / "data.npy", np.concatenate([sample, reals(31, 2, 5, 6)]))
    bundle = export(path, out=tmp_path / "out", calibration=tmp_path / "data.npy")
    assert [info.name for info in bundle.manifest.inputs] == ["x"]
    assert len(bundle.manifest.artifacts) == 4
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(file, artifact.format, artifact.inputs, artifact.outputs)
        (got,) = runner.run([sample])
        assert sqnr_db(expected, got) > (20 if artifact.precision.calibrated else 120)
    assert all(figures.passed for figures in verify_bundle(bundle).artifacts.values())
    onnx_files = [a for a in bundle.manifest.artifacts if a.format is Format.ONNX]
    assert all(len(onnx.load(bundle.file(a)).graph.input) == 1 for a in onnx_files)
