"""The names of PyTorch's modules in the files of an export."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeconv.bench.profile.split_tflite import cut
from edgeconv.export import export
from edgeconv.export.capture.arguments import Called, one_input
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.models.randomize import randomize_

pytestmark = pytest.mark.slow


class Block(nn.Module):
    """A convolution that takes up its norm, its ReLU in TFLite, and a norm in several operators."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.group = nn.GroupNorm(2, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.group(self.relu(self.bn1(self.conv1(x))))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.layer3 = nn.Sequential(Block(), Block())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer3(self.stem(x))
        return self.fc(self.pool(x).flatten(1))


BLOCKS = {"layer3.0", "layer3.1"}


def test_a_submodule_called_network_keeps_its_name() -> None:
    inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    network = nn.Sequential(OrderedDict(network=nn.Sequential(OrderedDict(network=inner)))).eval()
    called = Called(network, one_input(network, (1, 4)))
    graph = capture_module(called, [np.ones((1, 4), np.float32)], ["y"], 20).graph
    assert [node.name for node in graph] == ["network.network.0", "network.network.1"]
    assert set(graph.initializers) == {"network.network.0.weight", "network.network.0.bias"}


MODULES = {
    "stem",
    "pool",
    "fc",
    *BLOCKS,
    *(f"{block}.{part}" for block in BLOCKS for part in ("conv1", "bn1", "relu", "group")),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = randomize_(Network().eval(), shape=(3, 8, 8))
    folder = tmp_path_factory.mktemp("names") / "bundle"
    data = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    export(
        network,
        out=folder,
        name="n",
        input_size=(8, 8),
        precisions=["float32", "int8"],
        calibration=data,
    )
    return folder


def module_of(name: str) -> str:
    """The module that a name begins with."""
    for end in range(len(name), 0, -1):
        if name[:end] in MODULES and name[end:][:1] in ("", "/", "_", ";"):
            return name[:end]
    return ""


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_computing_onnx_node_bears_its_module(bundle: Path, precision: str) -> None:
    nodes = {node.name: node for node in onnx.load(bundle / f"n_{precision}.onnx").graph.node}
    for block in BLOCKS:
        assert nodes[f"{block}.conv1"].op_type == "Conv"  # with bn1 in it
        assert nodes[f"{block}/add"].op_type == "Add"
        decomposed = [node for name, node in nodes.items() if module_of(name) == f"{block}.group"]
        assert len(decomposed) > 1
    assert nodes["fc"].op_type == "Gemm"
    boundary = ("QuantizeLinear", "DequantizeLinear", "Reshape")  # of the network's input, flatten
    computing = [node for node in nodes.values() if node.op_type not in boundary]
    assert [node.name for node in computing if not module_of(node.name)] == []


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_every_computing_tflite_operator_bears_its_module(bundle: Path, precision: str) -> None:
    operators = cut(bundle / f"n_{precision}.tflite")
    named = {one.name: one.operator for one in operators}
    fused = "" if precision == "int8" else ";{}.relu"  # in int8 the codes saturate instead
    for block in BLOCKS:
        assert named[f"{block}.conv1" + fused.format(block)] == "CONV_2D"
        assert named[f"{block}/add"] == "ADD"
        assert sum(module_of(name) == f"{block}.group" for name in named) > 1
    assert named["pool"] == "MEAN"
    interface = ("output", "x/int8")
    assert [name for name in named if not module_of(name) and name not in interface] == []


def test_litert_reports_the_names(bundle: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundle / "n_float32.tflite"))
    names = {details["name"] for details in interpreter.get_tensor_details()}
    assert {"stem", "layer3.0.conv1;layer3.0.relu", "layer3.1/add"} <= names


class Shared(nn.Module):
    """Two calls of one module, an input called like a module, and an operator outside of any."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.x = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.head(torch.sin(self.head(self.x(x)))))


def test_names_stay_distinct() -> None:
    graph = optimize(capture_module(Shared().eval(), [np.zeros((1, 4), np.float32)], ["y"], 18))
    nodes = list(graph.graph)
    names = [str(node.name) for node in nodes]
    assert len(set(names)) == len(names)
    assert names[:3] == ["x_1", "head", "sin"]
    assert names[3].startswith("head")
    values = [value.name for node in nodes for value in node.outputs]
    assert len({"x", *values}) == len(values) + 1
    assert values[-1] == "y"
