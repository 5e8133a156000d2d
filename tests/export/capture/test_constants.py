"""What ONNX cannot express, computed from weights alone or found while decomposing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.errors import CaptureError
from edgeconv.export.capture.module import capture_module
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow


class Orthogonal(nn.Module):
    """A window, a matrix exponential and a Bessel function of weights; pairs of rows and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.skew, self.layer = nn.Parameter(torch.randn(20, 20)), nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        turned = x @ torch.matrix_exp(self.skew - self.skew.T)
        window = torch.kaiser_window(20) * torch.special.i0(self.skew[0])
        return self.layer(turned * window), torch.pdist(x)


def test_what_depends_on_weights_alone_is_computed() -> None:
    torch.manual_seed(0)
    network = Orthogonal().eval()
    x = np.random.default_rng(0).standard_normal((3, 20)).astype(np.float32)
    model = capture_module(network, [x], ["y", "distances"], 20)
    assert "layer.weight" in model.graph.initializers
    got = run_onnx(ir.to_proto(model).SerializeToString(), x)
    with torch.no_grad():
        expected = network(torch.from_numpy(x))
    for name, wanted in zip(("y", "distances"), expected, strict=True):
        np.testing.assert_allclose(got[name], wanted.numpy(), rtol=1e-5, atol=1e-5)


def test_random_numbers_and_inputs_are_no_constants() -> None:
    class Random(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(x + torch.rand(3, 3))

    with pytest.raises(CaptureError, match=r"aten\._linalg_eigh.*eigvalsh\(x"):
        capture_module(Random(), [np.eye(3, dtype=np.float32)], ["y"], 20)
