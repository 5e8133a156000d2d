"""Capture of modules and of .onnx files, good and bad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeconv.bundle import Layout
from edgeconv.errors import CaptureError, DataError, EdgeconvError, UsageError
from edgeconv.export.capture.checks import refuse_bad_weights
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from edgeconv.export.verify.reference import module_outputs
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input
from support.lowering import Net
from support.runtimes import run_onnx, run_tflite

X = structured_input((1, 3, 16, 16)).numpy()


def onnx_network(
    path: Path, *, batch: int | str = "N", side: int | str = 8, opset: int = 20
) -> Path:
    """Convolution, batch norm, ReLU, mean over the map: a file of another producer."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "gamma": rng.uniform(0.5, 1.5, 4).astype(np.float32),
        "beta": rng.standard_normal(4).astype(np.float32),
        "mean": rng.standard_normal(4).astype(np.float32),
        "variance": rng.uniform(0.5, 2, 4).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "gamma", "beta", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_a_module_is_written_in_the_opset_asked_for(network: nn.Module, opset: int) -> None:
    model = capture_module(network, [X], ["scores"], opset)
    assert model.graph.opset_imports[""] == opset
    assert [value.name for value in model.graph.outputs] == ["scores"]


class Named(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"second": x * 2, "first": x + 1}


def test_outputs_of_a_dict_keep_their_names_and_order() -> None:
    outputs = module_outputs(Named().eval(), (X,))
    assert list(outputs) == ["second", "first"]
    model = capture_module(Named().eval(), [X], list(outputs), 20)
    got = run_onnx(_bytes(model), X)
    assert list(got) == ["second", "first"]
    for name, expected in outputs.items():
        assert np.array_equal(expected, got[name])


def test_a_forward_that_fails_names_the_shape(network: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"(?s)1×5×16×16.*input_size.*whole shape"):
        module_outputs(network, (np.zeros((1, 5, 16, 16), np.float32),))


def test_control_flow_on_data_is_a_capture_error() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(CaptureError, match=r"torch\.export cannot trace Branching"):
        capture_module(Branching().eval(), [X], ["output"], 20)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_weights_are_named(value: float) -> None:
    network = randomize_(create_model("resnet8"), shape=(3, 16, 16))
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = value
    model = capture_module(network, [X], ["output"], 20)
    with pytest.raises(DataError, match="NaN or infinite"):
        refuse_bad_weights(model)


def test_only_own_single_numbers_are_weights() -> None:
    class Domain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(torch.nan))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x > 0, x * torch.inf, torch.where(x < -1, torch.nan, self.scale))

    model = capture_module(Domain().eval(), [X], ["output"], 20)
    refuse_bad_weights(model)
    with pytest.raises(DataError, match="'scale' has 1 NaN"):
        refuse_bad_weights(model, {"scale"})


def test_a_constant_of_forward_is_not_called_a_weight() -> None:
    class Marked(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.nan

    model = optimize(capture_module(nn.Sequential(Marked()).eval(), [X], ["output"], 20))
    with pytest.raises(DataError, match=r"^0 \(Add\): .* constant .*\n.*out of forward"):
        refuse_bad_weights(model, ())


@pytest.mark.parametrize("operator", ["Mul", "Add", "Div", "Sub"])
def test_a_weight_of_one_number_in_a_file_is_named(operator: str, tmp_path: Path) -> None:
    def capture(number: float) -> None:
        net = Net(opset=18)
        scale = net.constant(np.array([number], np.float32))
        onnx.save(net.output(net.op(operator, net.input("x", (1, 4)), scale)).proto(), path)
        refuse_bad_weights(capture_file(path, None, input_size=None, batch=None).graph)

    path = tmp_path / "net.onnx"
    with pytest.raises(DataError, match="the weight 'c0' has 1 NaN"):
        capture(np.nan)
    capture(np.inf)


def test_group_normalization_has_the_shape_of_its_input(tmp_path: Path) -> None:
    net, path = Net(opset=21), tmp_path / "net.onnx"
    scale, bias = (
        net.constant(np.array(each, np.float32)) for each in ([1, 2, 3, 4], [0, 1, 2, 3])
    )
    y = net.op("Relu", net.input("x", (1, 4, 3, 3)))
    for _ in range(2):
        y = net.op("Sigmoid", net.op("GroupNormalization", y, scale, bias, num_groups=2))
    y_info = helper.make_tensor_value_info(y, TensorProto.FLOAT, None)
    graph = helper.make_graph(net.nodes, "g", net.inputs, [y_info], net.initializers)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    x = np.random.default_rng(0).standard_normal((1, 4, 3, 3)).astype(np.float32)
    (expected,) = run_onnx(path, x).values()
    captured = capture_file(path, None, input_size=None, batch=None).graph
    (got,) = run_tflite(lower(optimize(captured), layout=Layout.NCHW).data, x).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_metadata_with_folders_is_gone(network: nn.Module) -> None:
    model = optimize(capture_module(network, [X], ["output"], 20))
    assert str(Path(__file__).parents[3]).encode() not in _bytes(model)
    assert b"stack_trace" not in _bytes(model)


def test_an_open_batch_is_one_by_default(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "net.onnx")
    model = capture_file(path, None, input_size=None, batch=None).graph
    assert list(model.graph.inputs[0].shape) == [1, 3, 8, 8]
    assert list(model.graph.outputs[0].shape) == [1, 4]
    assert list(
        capture_file(path, None, input_size=None, batch=5).graph.graph.outputs[0].shape
    ) == [5, 4]


def test_open_sides_want_an_input_size(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "net.onnx", side="S")
    with pytest.raises(UsageError, match="input_size"):
        capture_file(path, None, input_size=None, batch=None)
    model = capture_file(path, None, input_size=(10, 12), batch=None).graph
    assert list(model.graph.inputs[0].shape) == [1, 3, 10, 12]


def test_a_whole_shape_for_what_is_open(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "net.onnx", side="S")
    shape = InputShape((2, 3, 10, 12))
    model = capture_file(path, None, input_size=shape, batch=None).graph
    assert tuple(model.graph.inputs[0].shape) == shape
    with pytest.raises(UsageError, match="fixed size of 3 in dimension 1, not 4"):
        capture_file(path, None, input_size=InputShape((2, 4, 10, 12)), batch=None)


@pytest.mark.parametrize("size", [InputShape((1, 10, 12)), (1, 3, 10, 12)])
def test_a_size_that_fits_no_input(tmp_path: Path, size: tuple[int, ...]) -> None:
    path = onnx_network(tmp_path / "net.onnx", side="S")
    with pytest.raises(UsageError, match="fits none of its inputs, which have 4 dimensions"):
        capture_file(path, None, input_size=size, batch=None)


def test_a_fixed_size_cannot_be_changed(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "net.onnx", batch=1)
    with pytest.raises(UsageError, match="fixed size of 8"):
        capture_file(path, None, input_size=(9, 9), batch=None)
    with pytest.raises(UsageError, match="fixed size of 1"):
        capture_file(path, None, input_size=None, batch=2)


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
def test_files_of_other_opsets_and_their_results(tmp_path: Path, opset: int) -> None:
    path = onnx_network(tmp_path / "net.onnx", opset=opset)
    model = optimize(capture_file(path, None, input_size=None, batch=None).graph)
    assert model.graph.opset_imports[""] == max(opset, 18)
    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    x = structured_input((1, 3, 8, 8)).numpy()
    (expected,) = run_onnx(path, x).values()
    (got,) = run_onnx(_bytes(model), x).values()
    # Folding batch norm reorders a few products: 1e-6 relative, an order left.
    assert np.allclose(expected, got, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_damaged_files(tmp_path: Path, share: float) -> None:
    data = onnx_network(tmp_path / "net.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(EdgeconvError) as caught:
        capture_file(path, None, input_size=None, batch=None)
    assert "\n" not in caught.value.message


def test_text_is_not_onnx(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("this is not a network")
    with pytest.raises(CaptureError, match="is not a whole ONNX file\nhint: make or copy it again"):
        capture_file(path, None, input_size=None, batch=None)


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.touch()
    with pytest.raises(CaptureError, match=r"net\.onnx is empty\nhint: make or copy it again"):
        capture_file(path, None, input_size=None, batch=None)


def test_what_the_checker_finds_is_reported_in_full(tmp_path: Path) -> None:
    model = onnx.load(onnx_network(tmp_path / "net.onnx"))
    model.graph.node[2].input[0] = "nope"
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CaptureError, match=r"'nope' of node: OpType: Relu is not output") as caught:
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)
    assert "\n" not in caught.value.message


def test_an_output_that_states_no_shape(tmp_path: Path) -> None:
    path = onnx_network(tmp_path / "net.onnx", batch=1)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    graph = capture_file(path, None, input_size=None, batch=None).graph.graph
    assert list(graph.outputs[0].shape) == [1, 4]
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    with pytest.raises(CaptureError, match="the input 'x' states no shape"):
        capture_file(path, None, input_size=None, batch=None)


def test_weights_outside_the_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    model = onnx.load(onnx_network(tmp_path / "in" / "net.onnx"))
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    (tmp_path / "in" / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CaptureError, match="outside its folder"):
        capture_file(tmp_path / "in" / "net.onnx", None, input_size=None, batch=None)


def test_a_foreign_domain_is_named(tmp_path: Path) -> None:
    model = onnx.load(onnx_network(tmp_path / "net.onnx"))
    model.graph.node[2].op_type, model.graph.node[2].domain = "FusedThing", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(CaptureError, match=r"com\.example"):
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)


def _bytes(model: object) -> bytes:
    import onnx_ir as ir

    assert isinstance(model, ir.Model)
    return ir.to_proto(model).SerializeToString()
