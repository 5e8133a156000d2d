"""What is left out because one output or part loses by it is recorded with that one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.quantize.accuracy.judge import Gain, Judge, Loss
from edgeconv.models.randomize import structured_input

SHAPE = (2, 16, 16)
X = structured_input((32, *SHAPE)).numpy()
BATCHES = [(x[None],) for x in X]


class MapAndPeaks(nn.Module):
    """A map of the small values, which gains by clipped ranges, and the peaks, which lose by it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stem = self.stem(x)
        features = stem * stem * stem
        peaks = torch.cat([features.amax((2, 3)), features.mean((2, 3))], 1)
        return self.head(features.clamp(-0.3, 0.3)), peaks


def captured(network: nn.Module, names: list[str]) -> ir.Model:
    return optimize(capture_module(network.eval(), (X[:1],), names, 20))


def test_a_range_method_is_left_out_for_the_part_that_loses() -> None:
    graph = captured(MapAndPeaks(), ["map", "peaks"])
    steps = quantize(graph, BATCHES, QuantizeOptions(repair=False)).improvements
    (step,) = (step for step in steps if step.name == "mse ranges")
    assert step.gain.typical
    record = step.record()
    assert not record.kept
    assert record.losing_output == "the part 'amax' of the output 'peaks'"
    assert record.loss_db is not None
    assert record.loss_db > 1  # clipped peaks are off by half a step and more
    (other,) = (step for step in steps if step.name == "percentile ranges")
    assert other.record().loss_db is None  # it gains nothing: no output decides


class Zero(nn.Module):
    """An output without a signal, which does not count, between two others."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x * 2, (x * 0).relu(), x.abs() + 1


def test_the_output_that_loses_most_is_named() -> None:
    judge = Judge.on(captured(Zero(), ["double", "zero", "size"]), BATCHES[:4])
    before = np.full((4, 2), 1e-2)
    less, more = Gain.between(before, before * [0.5, 1.2]), Gain.between(before, before * [1.5, 2])
    assert judge.loss(less) == Loss("the output 'size'", -less.outputs[1].pooled_db)
    assert judge.loss(more) == Loss("the output 'size'", -more.outputs[1].pooled_db)
    assert judge.loss(Gain.between(before, before * 0.5)) is None


def test_all_samples_together_may_lose_by_a_few() -> None:
    judge = Judge.on(captured(nn.Conv2d(2, 3, 1), ["y"]), BATCHES[:4])
    before = np.r_[np.full(30, 1e-3), 1.0, 1.0]
    after = np.r_[np.full(30, 1e-4), 1.2, 1.2]
    gain = Gain.between(before, after)
    assert gain.typical
    assert judge.loss(gain) == Loss(None, -gain.pooled_db)
