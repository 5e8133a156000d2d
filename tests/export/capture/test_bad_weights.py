"""Weights that no file can hold are refused by their own names, from modules and from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export.capture.checks import refuse_bad_statistics
from edgeconv.export.capture.module import capture_module
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.capture.own_copy import prepared
from support.lowering import Net

X = np.zeros((1, 3, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("running_var", -1.0, "the variances '1.running_var' are negative in 1 of 2 channels"),
        ("running_var", np.nan, "the weight '1.running_var' has 1 NaN or infinite values of 2"),
        ("weight", np.inf, "the weight '1.weight' has 1 NaN or infinite values of 2"),
    ],
)
def test_statistics_of_a_batch_norm(name: str, value: float, message: str) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    with torch.no_grad():
        getattr(network[1], name)[0] = value
    graph = capture_module(network, [X], ["output"], 20)
    with pytest.raises(DataError, match=message):
        refuse_bad_statistics(graph)


def test_a_variance_that_the_epsilon_makes_positive() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).eval()
    network[1].running_var.fill_(-1e-9)
    refuse_bad_statistics(capture_module(network, [X], ["output"], 20))


def test_a_weight_beyond_float32_of_a_file(tmp_path: Path) -> None:
    net = Net(opset=18)
    x = net.input("x", (1, 2), onnx.TensorProto.DOUBLE)
    weight = net.constant(np.array([[1e300, 1], [1, 1]], np.float64))
    onnx.save(net.output(net.op("MatMul", x, weight)).proto(), tmp_path / "net.onnx")
    with pytest.raises(DataError, match="'c0' has 1 values of 4 that are too large for float32"):
        capture_file(tmp_path / "net.onnx", None, input_size=None, batch=None)


def test_a_weight_beyond_float32_of_a_module() -> None:
    network = nn.Linear(2, 2).double()
    with torch.no_grad():
        network.weight[0, 0] = 1e300
    with pytest.raises(DataError, match="'weight' has 1 values of 4 that are too large"):
        prepared(network)
