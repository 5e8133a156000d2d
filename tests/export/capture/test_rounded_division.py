"""Quotients of integers beyond the 24 bits that float32 has."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.bundle import Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.runtimes import run_onnx, run_tflite

NUMBERS = [0, 7, -7, 16777221, -16777221, 1_000_000_010, -2_000_000_011, 2**31 - 1]


class Quotients(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        by = torch.full_like(x, -10)
        return {
            "by_number": torch.div(x, 3, rounding_mode=self.mode),
            "by_tensor": torch.div(x, by, rounding_mode=self.mode),
            "of_floats": torch.div(x.float(), 3, rounding_mode=self.mode),
        }


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("trunc", np.int32),
        ("floor", np.int64),
        pytest.param("trunc", np.int64, marks=pytest.mark.slow),
        pytest.param("floor", np.int32, marks=pytest.mark.slow),
    ],
)
def test_no_bit_is_lost(mode: str, dtype: type[np.integer]) -> None:
    x, network = np.array([NUMBERS], dtype), Quotients(mode).eval()
    expected = network(torch.from_numpy(x))
    graph = optimize(capture_module(network, [x], list(expected), 20))
    onnx = run_onnx(ir.to_proto(graph).SerializeToString(), x)
    tflite = run_tflite(lower(graph, layout=Layout.NCHW).data, x)
    for name, value in expected.items():
        for got in (onnx[name], tflite[name]):
            np.testing.assert_array_equal(got, value.numpy(), name)
