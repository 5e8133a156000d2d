"""Parametrized weights and fake quantization become plain before a network is traced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.ao import quantization as ao
from torch.nn.utils import parametrizations, parametrize

from edgeconv.errors import CaptureError
from edgeconv.export import export
from edgeconv.export.capture.arguments import Called, one_input
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.materialize import materialized
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.runtimes import open_runner
from support.runtimes import run_onnx


class Doubled(nn.Module):
    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.tanh(weight) * 2


def parametrized() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)),
        nn.ReLU(),
        torch.nn.utils.weight_norm(nn.Conv2d(8, 4, 3)),
        nn.Flatten(),
        parametrizations.orthogonal(nn.Linear(64, 8)),
        nn.Linear(8, 5),
    )
    parametrize.register_parametrization(network[5], "weight", Doubled())
    return network.eval()


def test_parametrizations_are_gone_from_the_graph_and_stay_in_the_module() -> None:
    network = parametrized()
    x = torch.linspace(-2, 3, 192).reshape(1, 3, 8, 8).sin()
    with torch.no_grad():
        expected = network(x)
    types = [type(module) for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    graph = optimize(capture_module(network, [x.numpy()], ["y"], 20))
    assert {node.op_type for node in graph.graph} <= {"Conv", "Relu", "Flatten", "Reshape", "Gemm"}
    (got,) = run_onnx(ir.to_proto(graph).SerializeToString(), x.numpy()).values()
    # Both sum 64 products in float32, in orders of their own.
    assert np.abs(got - expected.numpy()).max() <= 1e-6 * np.abs(expected.numpy()).max() * 8

    assert [type(module) for module in network.modules()] == types
    assert parametrize.is_parametrized(network[4], "weight")  # type: ignore[index]
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    with torch.no_grad():
        assert torch.equal(network(x), expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch calls weight_norm deprecated
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_what_a_hook_computes_from_parameters(kind: type[nn.GRU | nn.LSTM], tmp_path: Path) -> None:
    layer = torch.nn.utils.weight_norm(kind(4, 5, batch_first=True), "weight_hh_l0")
    x = torch.linspace(-2, 3, 24).reshape(1, 6, 4).sin()
    bundle = export(layer.eval(), out=tmp_path / "out", example=x)
    with torch.no_grad():
        expected = layer(x)[0].numpy()
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(file, artifact.format, artifact.inputs, artifact.outputs)
        got = runner.run([x.numpy()])[0]
        # Five products for each gate and step, in orders of their own.
        assert np.abs(got - expected).max() <= 1e-5, artifact.path


def test_a_plain_network_is_not_copied() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert materialized(network) is network


class Trained(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.linear = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm(self.conv(self.quant(x)))).mean((2, 3))
        result: torch.Tensor = self.dequant(self.linear(y))
        return result


def trained(*, per_channel: bool, fused: bool) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    network = Trained().train()
    if fused:
        ao.fuse_modules_qat(network, [["conv", "norm", "relu"]], inplace=True)
    network.qconfig = ao.get_default_qat_qconfig("x86" if per_channel else "qnnpack")  # type: ignore[assignment]
    ao.prepare_qat(network, inplace=True)
    x = torch.randn(8, 3, 8, 8)
    for _ in range(3):
        network(x)
    return network.eval(), x[:1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.ao.quantization says that it is to be moved
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_eager_quantization_aware_training(per_channel: bool, fused: bool) -> None:
    network, x = trained(per_channel=per_channel, fused=fused)
    called = Called(network, one_input(network, (1, 3, 8, 8)))
    with pytest.raises(CaptureError, match=r"zation quant\.\S+ still obs.*\n.*disable_observer"):
        capture_module(called, [x.numpy()], ["y"], 20)
    network.apply(ao.disable_observer)
    with torch.no_grad():
        expected = network(x).numpy()
    graph = optimize(capture_module(network, [x.numpy()], ["y"], 20))
    kinds = [node.op_type for node in graph.graph]
    assert kinds.count("QuantizeLinear") >= 3
    assert not fused or "BatchNormalization" not in kinds
    (got,) = run_onnx(ir.to_proto(graph).SerializeToString(), x.numpy()).values()
    # A value in the middle between two integers may fall to either side: one step of the output.
    step = float(network.linear.activation_post_process.scale)  # type: ignore[union-attr,arg-type]
    assert np.abs(got - expected).max() <= step * 1.001
    with torch.no_grad():
        assert np.array_equal(network(x).numpy(), expected)


class Deep(nn.Module):
    """Two convolutions, of which the first is trained together with its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = ao.QuantStub(), ao.DeQuantStub()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.last = nn.Conv2d(8, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.dequant(
            self.last(self.relu(self.norm(self.conv(self.quant(x)))))
        )
        return result


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.ao.quantization says that it is to be moved
def test_codes_of_a_reduced_range_are_computed_in_integers(tmp_path: Path) -> None:
    """Those of PyTorch's default for x86, which uses half of the codes of an activation."""
    torch.manual_seed(0)
    network = Deep().train()
    ao.fuse_modules_qat(network, [["conv", "norm", "relu"]], inplace=True)
    network.qconfig = ao.get_default_qat_qconfig("fbgemm")  # type: ignore[assignment]
    ao.prepare_qat(network, inplace=True)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for _ in range(3):
        network(torch.randn(8, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    network.apply(ao.disable_observer)
    network.eval()
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        expected = network(x).numpy()
    shape = InputShape((1, 3, 8, 8))
    bundle = export(network, out=tmp_path / "out", precisions=["int8"], input_size=shape)
    step = float(network.last.activation_post_process.scale)  # type: ignore[union-attr,arg-type]
    for artifact in bundle.manifest.artifacts:
        assert artifact.float_fallback == ()
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        (got,) = runner.run([x.numpy()])
        # A step of what the first convolution gives moves the second one's results by one, too.
        assert np.abs(got - expected).max() <= 2.001 * step
        assert np.mean(np.abs(got - expected) < 0.001 * step) > 0.9
