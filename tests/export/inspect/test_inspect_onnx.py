from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export.inspect import inspect_file
from edgeconv.export.inspect.report import FileReport, QuantizationKind
from edgeconv.models.mobilenet_v2 import mobilenet_v2
from edgeconv.models.randomize import randomize_
from support.runtimes import onnx_session

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(0)


class Small(nn.Module):
    """Convolution, ReLU, grouped convolution, shortcut, pooling, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x).relu()
        y = y + self.grouped(y)
        return self.head(y.mean((2, 3)))


def export(module: nn.Module, path: Path, size: int = 16, **options: object) -> Path:
    torch.manual_seed(0)
    image = torch.rand(1, 3, size, size)
    settings = {"dynamo": True, "opset_version": 20, "external_data": False, "verbose": False}
    torch.onnx.export(module.eval(), (image,), path, **{**settings, **options})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Small(), tmp_path_factory.mktemp("onnx") / "small.onnx")


def save(tmp_path: Path, nodes: list[onnx.NodeProto], **parts: object) -> Path:
    """A file with the float32 input x and output y, both [2, 4]."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])
    graph = helper.make_graph(nodes, "g", [x], [y], **parts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def test_a_float_file(small: Path) -> None:
    report = inspect_file(small)
    model = Small()
    assert report.bytes == small.stat().st_size
    assert report.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert report.macs == 64 * 8 * 27 + 64 * 8 * 18 + 40
    assert report.quantization.kind is QuantizationKind.FLOAT
    assert (report.opset, report.ir_version) == (20, 10)
    assert report.lowest_runtime == "onnxruntime 1.18"
    # The image (3 KB) stays; the ReLU's result, the grouped convolution's and their sum, 2 KB each.
    assert report.peak_activation_bytes == 3072 + 3 * 2048


def test_operators_agree_with_onnx(small: Path) -> None:
    names = [node.op_type for node in onnx.load(small).graph.node]
    report = inspect_file(small)
    assert {operator.name: operator.count for operator in report.operators} == {
        name: names.count(name) for name in names
    }


def test_mobilenet_v2_has_its_published_size(tmp_path: Path) -> None:
    network = randomize_(mobilenet_v2())
    report = inspect_file(export(network, tmp_path / "mobilenet_v2.onnx", 224))
    assert report.macs == 300_774_272
    # 3,504,872 with batch normalization; folded, its 17,056 gammas are gone and its 17,056 betas
    # have become the convolutions' biases.
    assert report.parameters == 3_504_872 - 17_056
    # The largest depthwise convolution with stride 2 and the image, in float32.
    assert report.peak_activation_bytes == 4 * (96 * 112**2 + 96 * 56**2 + 3 * 224**2)


def test_dynamic_batch_counts_as_one(tmp_path: Path, small: Path) -> None:
    batch = torch.export.Dim("batch")
    path = export(Small(), tmp_path / "dynamic.onnx", dynamic_shapes=({0: batch},))
    report, fixed = inspect_file(path), inspect_file(small)
    assert report.inputs[0].shape[0] == "batch"
    assert (report.macs, report.peak_activation_bytes) == (fixed.macs, fixed.peak_activation_bytes)
    assert any("batch" in note for note in report.notes)


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        self.images: Iterator[np.ndarray] = iter(RANDOM.random((4, 1, 3, 16, 16), np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {"x": image}


@pytest.fixture(scope="module")
def quantized(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("quantized")

    def make(name: str, **options: object) -> Path:
        options = {"per_channel": True, "quant_format": QuantFormat.QDQ, **options}
        quantize_static(small, folder / name, Images(), **options)
        return folder / name

    return make


def test_a_full_integer_file(small: Path, quantized: Callable[..., Path]) -> None:
    report = inspect_file(quantized("full.onnx"))
    quantization = report.quantization
    assert quantization.kind is QuantizationKind.INTEGER
    assert quantization.activations == ("int8",)
    assert (quantization.per_channel_weights, quantization.per_tensor_weights) == (3, 0)
    assert quantization.float_operators == {}
    float_report = inspect_file(small)
    assert (report.macs, report.parameters) == (float_report.macs, float_report.parameters)
    assert set(report.parameter_dtypes) == {"int8", "int32"}
    # The float image stays; the addition reads two int8 maps and writes one.
    assert report.peak_activation_bytes == 3072 + 3 * 512


def test_what_stays_in_float_is_named(quantized: Callable[..., Path]) -> None:
    path = quantized("mixed.onnx", op_types_to_quantize=["Conv", "Gemm"])
    quantization = inspect_file(path).quantization
    assert quantization.kind is QuantizationKind.MIXED
    assert quantization.float_operators["Add"] == 1


def test_integer_operators(small: Path, quantized: Callable[..., Path]) -> None:
    path = quantized("qlinear.onnx", quant_format=QuantFormat.QOperator)
    report = inspect_file(path)
    assert report.quantization.kind is QuantizationKind.INTEGER
    assert report.quantization.per_channel_weights == 3
    assert report.parameters == inspect_file(small).parameters


def test_quantized_weights_alone_are_no_int8(tmp_path: Path) -> None:
    weights = constant("w", RANDOM.integers(-127, 127, (4, 4)).astype(np.int8))
    scale = constant("s", np.float32(0.1))
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["wf"]),
        helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ]
    report = inspect_file(save(tmp_path, nodes, initializer=[weights, scale]))
    assert report.quantization.kind is QuantizationKind.WEIGHTS
    assert report.quantization.per_tensor_weights == 1
    assert report.parameter_dtypes == {"int8": 16}
    # The weights' float copy is a constant, no activation.
    assert report.peak_activation_bytes == 64


def test_integer_borders_carry_their_scale(tmp_path: Path) -> None:
    scale, zero = constant("s", np.float32(0.5)), constant("z", np.uint8(7))
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [2, 4])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [2, 4])
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [scale, zero])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    report = inspect_file(path)
    for border in (report.inputs[0], report.outputs[0]):
        assert (border.dtype, border.scale, border.zero_point) == ("uint8", 0.5, 7)
    assert report.quantization.kind is QuantizationKind.INTEGER


def test_bodies_of_control_flow_are_counted(tmp_path: Path) -> None:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [2, 4])
        node = helper.make_node(operator, ["x"], [f"{name}_y"])
        return helper.make_graph([node], name, [], [result])

    condition = constant("c", np.array(True))
    choice = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("t", "Relu"), else_branch=branch("e", "Neg")
    )
    report = inspect_file(save(tmp_path, [choice], initializer=[condition]))
    assert {operator.name for operator in report.operators} == {"If", "Relu", "Neg"}


def external(tmp_path: Path, location: str, length: int = 64) -> Path:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": str(length)}.items():
        weights.external_data.add(key=key, value=value)
    folder = tmp_path / "model"
    folder.mkdir()
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return save(folder, [node], initializer=[weights])


def test_external_data_beside_the_file_is_measured(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    with pytest.raises(DataError, match="which is not there"):
        inspect_file(path)
    (path.parent / "weights.bin").write_bytes(bytes(64))
    report = inspect_file(path)
    assert (report.parameters, report.weight_bytes) == (16, 64)
    assert report.bytes == path.stat().st_size + 64


@pytest.mark.parametrize("way", ["parent", "absolute", "link", "folder"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "weights.bin"
    outside.write_bytes(bytes(64))
    names = {"parent": "../weights.bin", "absolute": str(outside), "link": "l", "folder": "."}
    path = external(tmp_path, names[way])
    (path.parent / "l").symlink_to(outside)
    with pytest.raises(DataError, match="outside its folder"):
        inspect_file(path)


def test_external_data_too_short_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path, "weights.bin")
    (path.parent / "weights.bin").write_bytes(bytes(60))
    with pytest.raises(DataError, match="takes 64 bytes"):
        inspect_file(path)


@pytest.mark.parametrize("dims", [[2**62, 2**62], [-1, 4], [1000, 1000]])
def test_impossible_shapes_are_refused(tmp_path: Path, dims: list[int]) -> None:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, float_data=[1.0])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(DataError, match="'w'"):
        inspect_file(save(tmp_path, [node], initializer=[weights]))


def test_huge_activations_are_only_counted(tmp_path: Path) -> None:
    shape = constant("shape", np.array([2**20, 2**20, 8], np.int64))
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["h"]),
        helper.make_node("ReduceMean", ["h"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    report = inspect_file(save(tmp_path, nodes, initializer=[shape]))
    assert (report.peak_activation_bytes or 0) > 2**45


def test_a_node_that_reads_nothing_known_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, [helper.make_node("Relu", ["ghost"], ["y"])])
    with pytest.raises(DataError, match="'ghost'"):
        inspect_file(path)


def test_unknown_domains_and_opsets_are_shown(tmp_path: Path) -> None:
    path = save(tmp_path, [helper.make_node("Magic", ["x"], ["y"], domain="my.domain")])
    model = onnx.load(path)
    model.opset_import[0].version = 99
    model.opset_import.append(helper.make_opsetid("my.domain", 3))
    onnx.save(model, path)
    report = inspect_file(path)
    assert (report.operators[0].domain, report.operators[0].version) == ("my.domain", 3)
    assert report.lowest_runtime == "newer than onnxruntime 1.31 (opset 99)"


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data in (b"", b"\0" * 100, b"PK\x03\x04 not a model", b"\x08\x07"):
        path = tmp_path / "model.onnx"
        path.write_bytes(data)
        with pytest.raises(DataError) as caught:
            inspect_file(path)
        assert (caught.value.message + caught.value.hint).isprintable()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    tmp_path: Path, small: Path, data: st.DataObject
) -> None:
    content = bytearray(small.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    message = ""
    try:
        report: FileReport | None = inspect_file(path)
    except DataError as error:
        report, message = None, error.message + error.hint
    assert "\n" not in message
    assert report is None or report.model_dump_json()


def test_files_that_onnxruntime_takes_are_read(small: Path) -> None:
    session = onnx_session(small)
    report = inspect_file(small)
    assert [border.name for border in report.inputs] == [i.name for i in session.get_inputs()]
    assert [border.name for border in report.outputs] == [o.name for o in session.get_outputs()]
    assert [list(border.shape) for border in report.outputs] == [
        o.shape for o in session.get_outputs()
    ]
