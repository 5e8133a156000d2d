"""Assignments to slices: Concats with a scale for each part, of the same bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.joined import joined_outputs
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.metrics import sqnr_db
from support.lowering import Net, as_model
from support.runtimes import run_onnx

SHAPE = (4, 6, 5)


def operators(model: ir.Model) -> set[str]:
    return {node.op_type for node in model.graph}


def places(*spans: range) -> np.ndarray:
    """The indices that the older exporter writes: one for each element of the first axes."""
    return np.stack(np.meshgrid(*spans, indexing="ij"), -1).astype(np.int64)


@pytest.mark.parametrize(
    ("indices", "is_slab"),
    [
        (np.arange(1, 3)[:, None], True),
        (np.arange(0, 4)[:, None], True),
        (np.arange(-2, 0)[:, None], True),
        (places(range(4), range(2, 5)), True),
        (places(range(4), range(6), range(3, 5)), True),
        (places(range(1, 3), range(6), range(5)), True),
        (places(range(1, 3), range(0, 4)), False),
        (np.array([[0], [2]]), False),
        (np.array([[2], [1]]), False),
        (np.array([[1], [1]]), False),
    ],
    ids=str,
)
def test_an_assignment_to_a_slab_is_a_concat(indices: np.ndarray, is_slab: bool) -> None:
    net = Net()
    written = (*indices.shape[:-1], *SHAPE[indices.shape[-1] :])
    inputs = [net.input("x", SHAPE), net.input("new", written)]
    net.output(net.op("ScatterND", inputs[0], net.constant(indices.astype(np.int64)), inputs[1]))
    before, rng = as_model(net.proto()), np.random.default_rng(0)
    feed = [rng.standard_normal(shape).astype(np.float32) for shape in (SHAPE, written)]
    (expected,) = run_onnx(ir.to_proto(before), feed).values()
    after = optimize(before)
    assert ("ScatterND" not in operators(after)) == is_slab
    (got,) = run_onnx(ir.to_proto(after), feed).values()
    assert np.array_equal(got, expected)


def test_a_sum_into_a_slab_stays() -> None:
    net = Net()
    x, new = net.input("x", SHAPE), net.input("new", (2, *SHAPE[1:]))
    rows = net.constant(np.array([[0], [1]], np.int64))
    net.output(net.op("ScatterND", x, rows, new, reduction="add"))
    assert "ScatterND" in operators(optimize(as_model(net.proto())))


class InPlace(nn.Module):
    """A detector that assigns boxes in pixels and scores to parts of one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x).flatten(2).sigmoid()
        result = torch.zeros_like(y)
        result[:, :4] = y[:, :4] * 600
        result[:, 4:] = y[:, 4:] * 0.1
        return result


@pytest.mark.slow
def test_boxes_and_scores_that_are_assigned_keep_their_scales() -> None:
    torch.manual_seed(0)
    network = InPlace().eval()
    samples = [(torch.randn(1, 3, 8, 8, generator=torch.manual_seed(i)).numpy(),) for i in range(8)]
    graph = optimize(capture_module(network, samples[0], ("y",), 20))
    assert not operators(graph) & {"ScatterND", "Transpose"}
    (parts,) = joined_outputs(graph.graph, 20)
    assert parts is not None
    assert len(parts.names) == 2
    proto = ir.to_proto(quantize(graph, samples, QuantizeOptions(effort=0)).model)
    for sample in samples[:2]:
        (got,) = run_onnx(proto, list(sample)).values()
        with torch.no_grad():
            expected = network(torch.from_numpy(sample[0])).numpy()
        assert sqnr_db(expected[:, 4:], got[:, 4:]) > 30
