"""Inputs and outputs that are channels last in the network itself, as in files made from Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeconv.bundle import Bundle, Format, Layout, Precision
from edgeconv.export import export
from edgeconv.export.layouts import layout_of
from edgeconv.export.tasks.evaluate import evaluate
from edgeconv.export.verify.bundle import verify_bundle
from support.runtimes import run_onnx

Array = npt.NDArray[np.float32]
RNG = np.random.default_rng(0)
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
WEIGHT = RNG.standard_normal((8, 3, 3, 3)).astype(np.float32) / 3
DEPTHWISE = RNG.standard_normal((8, 1, 3, 3)).astype(np.float32) / 2
DENSE = RNG.standard_normal((8, 5)).astype(np.float32)
MEAN = np.array([0.1, -0.2, 0.3], np.float32)
SHAPE = (1, 8, 10, 3)


def node(operator: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def save(
    path: Path, nodes: Sequence[onnx.NodeProto], output: Sequence[int], dtype: int = 1
) -> Path:
    constants = {"w": WEIGHT, "d": DEPTHWISE, "f": DENSE, "mean": MEAN}
    graph = helper.make_graph(
        nodes,
        "keras",
        [helper.make_tensor_value_info("x", dtype, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def body(source: str) -> list[onnx.NodeProto]:
    return [
        node("Sub", f"{source} mean", "s"),
        node("Transpose", "s", "t", perm=TO_FIRST),
        node("Conv", "t w", "c", strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Relu", "c", "r"),
        node("Conv", "r d", "e", group=8, pads=[1] * 4),
    ]


def classifier(path: Path) -> Path:
    ends = [node("GlobalAveragePool", "e", "p"), node("Flatten", "p", "q")]
    return save(path, [*body("x"), *ends, node("MatMul", "q f", "y")], (1, 5))


def mapping(path: Path) -> Path:
    ends = [node("Transpose", "e", "u", perm=TO_LAST), node("Sigmoid", "u", "y")]
    return save(path, [*body("x"), *ends], (1, 4, 5, 8))


def on_bytes(path: Path) -> Path:
    cast = node("Cast", "x", "f32", to=TensorProto.FLOAT)
    ends = [node("Transpose", "e", "y", perm=TO_LAST)]
    return save(path, [cast, *body("f32"), *ends], (1, 4, 5, 8), TensorProto.UINT8)


def run_file(path: Path, x: npt.NDArray[np.generic]) -> Array:
    """The only output of a TFLite file for ``x`` as it is, real numbers in and out."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], x.astype(given["dtype"]))
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(made["index"]))


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("make", [classifier, mapping, on_bytes])
def test_what_is_channels_last_stays_so(make: object, layout: Layout, tmp_path: Path) -> None:
    path = make(tmp_path / "net.onnx")  # type: ignore[operator]
    bundle = export(path, out=tmp_path / "out", layout=layout)
    manifest = bundle.manifest
    x = RNG.standard_normal(SHAPE).astype(np.float32)
    if manifest.inputs[0].dtype == "uint8":
        x = RNG.integers(0, 256, SHAPE).astype(np.uint8)
    (expected,) = run_onnx(onnx.load(path), {"x": x}).values()
    file = next(bundle.file(a) for a in manifest.artifacts if a.format is Format.TFLITE)
    # Processors sum in different orders, and what is left of a sum can be small beside its terms.
    atol = 1e-5 * np.abs(expected).max()
    assert np.allclose(run_file(file, x), expected, rtol=0, atol=atol)
    for described in (manifest, *manifest.artifacts):
        assert described.inputs[0].layout is Layout.NHWC
        assert described.outputs[0].layout is (None if make is classifier else Layout.NHWC)
    assert all(figures.passed for figures in verify_bundle(bundle).artifacts.values())


def test_images_calibrate_and_evaluate_it(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for index in range(10):
        (folder / str(index % 5)).mkdir(parents=True, exist_ok=True)
        smooth = np.kron(RNG.integers(0, 256, (3, 4, 3)), np.ones((4, 4, 1)))
        Image.fromarray(smooth.astype(np.uint8)).save(folder / str(index % 5) / f"{index}.png")
    bundle = export(
        classifier(tmp_path / "net.onnx"),
        out=tmp_path / "out",
        precisions=[Precision.FLOAT32, Precision.INT8],
        calibration=folder,
    )
    assert bundle.manifest.preprocessing is not None
    assert len(bundle.manifest.preprocessing.mean) == 3
    assert Bundle.load(bundle.path).manifest.inputs[0].shape == SHAPE
    found = evaluate(bundle, folder)
    assert len({result.top1 for result in found.results[:2]}) == 1  # both float files
    assert found.samples == 10


def graph_of(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], output: Sequence[int]
) -> ir.Graph:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, output)],
        [
            numpy_helper.from_array(np.array(output), "shape"),
            numpy_helper.from_array(np.zeros(8, np.int64), "pads"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    return ir.from_proto(onnx.shape_inference.infer_shapes(model)).graph


@pytest.mark.parametrize(
    ("nodes", "shape", "output", "layouts"),
    [
        ([node("Transpose", "x", "y", perm=TO_FIRST)], (1, 4, 5, 3), (1, 3, 4, 5), "nhwc nchw"),
        ([node("Transpose", "x", "y", perm=TO_LAST)], (1, 3, 4, 5), (1, 4, 5, 3), "nchw nhwc"),
        ([node("Relu", "x", "y")], (1, 3, 4, 5), (1, 3, 4, 5), "nchw nchw"),
        # A single channel: a Reshape transposes it as well.
        ([node("Reshape", "x shape", "y")], (1, 4, 5, 1), (1, 1, 4, 5), "nhwc nchw"),
        ([node("Reshape", "x shape", "y")], (1, 1, 4, 5), (1, 4, 5, 1), "nchw nhwc"),
        ([node("Reshape", "x shape", "y")], (1, 4, 5, 2), (1, 2, 4, 5), "nchw nchw"),
        (
            [node("Pad", "x pads", "p"), node("Transpose", "p", "y", perm=TO_FIRST)],
            (1, 4, 5, 3),
            (1, 3, 4, 5),
            "nhwc nchw",
        ),
        # A result that is added to the input is laid out like it.
        (
            [
                node("Transpose", "x", "t", perm=TO_FIRST),
                node("Softmax", "t", "s", axis=1),
                node("Transpose", "s", "u", perm=TO_LAST),
                node("Add", "x u", "y"),
            ],
            (1, 4, 5, 3),
            (1, 4, 5, 3),
            "nhwc nhwc",
        ),
        ([node("Transpose", "x", "y", perm=(0, 2, 1, 3))], (1, 2, 3, 4), (1, 3, 2, 4), "nchw nchw"),
    ],
)
def test_the_layout_is_read_from_the_graph(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], output: Sequence[int], layouts: str
) -> None:
    graph = graph_of(nodes, shape, output)
    found = [layout_of(value) for value in (graph.inputs[0], graph.outputs[0])]
    assert found == [Layout(name) for name in layouts.split()]


def test_other_ranks_have_no_layout() -> None:
    assert layout_of(graph_of([node("Relu", "x", "y")], (1, 3), (1, 3)).inputs[0]) is None
