"""Names of the nodes that passes make."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from support.runtimes import run_onnx


class Cells(nn.Module):
    """What folding makes of the second cell's chunks are two nodes at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTMCell(3, 4), nn.GRUCell(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = (torch.zeros(2, 4), torch.zeros(2, 4))
        other = torch.zeros(2, 4)
        for step in range(2):
            state = self.first(x[:, step], state)
            other = self.second(state[0], other)
        return other


def test_nodes_that_inherit_one_name_are_numbered() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((2, 2, 3)).astype(np.float32)
    network = Cells().eval()
    model = optimize(capture_module(network, [x], ["y"], 20))
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    # ONNX Runtime refuses a file in which two nodes have one name.
    (got,) = run_onnx(ir.to_proto(model).SerializeToString(), x).values()
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
