"""Functions of numbers that are huge, infinite or beyond their domain, on LiteRT."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.huge_numbers import may_be_huge
from support.runtimes import run_tflite

pytestmark = pytest.mark.slow

INF = float("inf")
X = torch.tensor([[1e26, -1e27, 1e30, -1e30, 3e38, -3e38, INF, -INF, 100.0, -100.0, 0.5, -3.0]])


class Several(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        least = torch.finfo(torch.float32).min
        rows = x.reshape(6, 2)
        return {
            "sigmoid": torch.sigmoid(x),
            "silu": functional.silu(x),
            "scaled": torch.sigmoid(1.702 * x),
            "masked": torch.sigmoid(x.tanh().masked_fill(x > 0, least)),
            "atanh": torch.atanh(x),
            "logsumexp": rows.logsumexp(-1),
            "logsumexp_of_nothing": x.masked_fill(x < INF, -INF)[:, :4].logsumexp(-1),
        }


def test_they_are_what_pytorch_says() -> None:
    graph = optimize(capture_module(Several().eval(), [X.numpy()], list(Several()(X)), 20))
    got = run_tflite(lower(graph, layout=Layout.NCHW).data, X.numpy())
    most = np.finfo(np.float32).max
    for name, expected in Several()(X).items():
        result, wanted = got[name], expected.numpy()
        if name == "logsumexp":  # on some processors it ends at the largest number, not at infinity
            result, wanted = result.clip(-most, most), wanted.clip(-most, most)
        # XNNPACK's exp and log are off by two units in the last place.
        np.testing.assert_allclose(result, wanted, 5e-7, 1e-37, err_msg=name)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.first(x)
        return {
            "moved": torch.sigmoid(x * 2 + 1),
            "divided": torch.sigmoid(x / 4),
            "masked": torch.sigmoid(x.masked_fill(x < 0, -1e30)),
            "inverted": torch.sigmoid(1 / x),
        }


def test_sigmoids_of_sums_need_no_limits() -> None:
    names = ["moved", "divided", "masked", "inverted"]
    graph = optimize(capture_module(Gated().eval(), [X.numpy()], names, 20)).graph
    found = {}
    for output in graph.outputs:
        sigmoid = output.producer()
        assert sigmoid is not None
        assert sigmoid.op_type == "Sigmoid"
        assert isinstance(sigmoid.inputs[0], ir.Value)
        found[output.name] = may_be_huge(sigmoid.inputs[0])
    assert found == {"moved": False, "divided": False, "masked": True, "inverted": True}
