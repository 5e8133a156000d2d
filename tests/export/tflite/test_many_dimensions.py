"""Operators over seven dimensions, where XNNPACK takes six: LiteRT refused such files."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from support.lowering import FLOAT_TOLERANCE
from support.runtimes import run_tflite

SHAPE = (2, 2, 3, 2, 2, 3, 2)


class Function(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean of neighbors": lambda x: x.mean((3, 4)),
    "max of dimensions that are apart": lambda x: x.amax((0, 2, 4, 6)),
    "sum that keeps them": lambda x: x * x.sum((1, 3, 5), keepdim=True),
    "softmax": lambda x: x.softmax(3),
    "log_softmax": lambda x: x.log_softmax(6),
    "layer_norm": lambda x: nn.functional.layer_norm(x, SHAPE[-2:]),
    "cat": lambda x: torch.cat([x, 2 * x], 4),
    "pad": lambda x: nn.functional.pad(x, (1, 1, 2, 0), value=3.0),
    "products of matrices": lambda x: x @ x[:1, :1].transpose(-1, -2),
    "product with a constant": lambda x: x @ torch.ones(2, 4),
}


# A reduction, one along a dimension, and one that only moves elements.
QUICK = ("mean of neighbors", "softmax", "cat")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FUNCTIONS],
)
def test_seven_dimensions(name: str) -> None:
    network = Function(FUNCTIONS[name]).eval()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(SHAPE, np.float32))
    graph = optimize(capture_module(network, (x.numpy(),), ["y"], 20))
    lowered = lower(graph)
    (got,) = run_tflite(lowered.data, [x.numpy()]).values()
    wanted = network(x).numpy()
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=10 * FLOAT_TOLERANCE)
