"""A split graph computes the same elements as the whole one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeconv.errors import UsageError
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.passes.split_outputs import split_outputs
from edgeconv.export.runtimes import IntermediateOutputs
from support.detectors import detector, samples

pytestmark = pytest.mark.slow


class Nested(nn.Module):
    """Two scales, each of boxes and scores along the last axis, and a constant of each channel."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(3, 6, 3, 4)
        self.stride: Tensor
        self.register_buffer("stride", torch.tensor([8.0, 8, 8, 8, 1, 1]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scales = []
        for head in (self.first, self.second):
            rows = head(x).flatten(2).transpose(1, 2)
            scales.append(torch.cat([rows[..., :4].exp(), rows[..., 4:].sigmoid()], -1))
        return torch.cat(scales, 1) * self.stride, x.mean((2, 3))


@pytest.mark.parametrize(("network", "count"), [(detector(), 2), (Nested().eval(), 5)])
def test_the_parts_are_those_of_the_whole(network: nn.Module, count: int) -> None:
    x = samples(1)
    names = ["rows", "mean"] if isinstance(network, Nested) else ["rows"]
    graph = optimize(capture_module(network, (x,), names, 20))
    with torch.inference_mode():
        outputs = network(torch.from_numpy(x))
    whole = [each.numpy() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]
    splits = split_outputs(graph)
    expected = splits.apply(whole)
    found = [str(value.name) for value in graph.graph.outputs]
    rows = [f"rows_{index}" for index in range(len(found) - len(names) + 1)]
    assert found == [*rows, *names[1:]]
    assert len(found) == count
    got = IntermediateOutputs(graph, found).run((x,))
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)  # float32
    assert all(node.op_type != "Concat" for node in graph.graph)
    assert sum(each.size for each in got) == sum(each.size for each in whole)


def test_without_a_concatenation_it_is_refused() -> None:
    graph = optimize(capture_module(nn.Flatten(), (samples(1),), ["output"], 20))
    with pytest.raises(UsageError, match="no output is a concatenation"):
        split_outputs(graph)
