"""The range method that is chosen by measurement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.calibration.ranges import CLIPPING
from edgeconv.export.quantize.calibration.ranges.distribution import Distribution
from edgeconv.export.quantize.calibration.ranges.percentile import percentile
from edgeconv.export.quantize.parameters import Range
from edgeconv.models.randomize import randomize_, structured_input


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [(structured_input((1, 3, 16, 16), seed).numpy(),) for seed in range(24)]


@pytest.fixture(scope="module")
def graph(samples: list[Sample]) -> ir.Model:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 6, 3), nn.Flatten()
    )
    captured = capture_module(randomize_(network.eval(), shape=(3, 16, 16)), samples[0], ["y"], 20)
    return optimize(captured)


@pytest.mark.slow
def test_the_choice_is_the_one_that_is_told(graph: ir.Model, samples: list[Sample]) -> None:
    chosen = quantize(graph, samples)
    assert chosen.range_method not in (None, RangeMethod.AUTO)
    stated = quantize(graph, samples, replace(QuantizeOptions(), range_method=chosen.range_method))
    for name, value in chosen.model.graph.initializers.items():
        other = stated.model.graph.initializers[name]
        assert np.array_equal(value.const_value.numpy(), other.const_value.numpy())


def test_wild_values_in_few_samples_are_cut_off(graph: ir.Model, samples: list[Sample]) -> None:
    """Over all samples together the ratio would be that of the wild one, and min-max the best."""
    wild = [(x.copy(),) for (x,) in samples]
    wild[5][0][0, 1, 3, 3] = 200 * np.abs(wild[5][0]).max()
    assert quantize(graph, wild).range_method is RangeMethod.PERCENTILE


def test_what_loses_once_it_is_fitted_to_all_samples_is_not_kept(
    graph: ir.Model, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    values_of_all = len(samples) * 12 * 16 * 16  # of what the second convolution reads

    def wrong_on_all(values: Distribution) -> Range:
        chosen = percentile(values)
        if round(float(values.mass.sum())) != values_of_all:
            return chosen
        return Range(chosen.low / 20, chosen.high / 20)

    for method in CLIPPING:
        monkeypatch.setitem(CLIPPING, method, wrong_on_all)
    wild = [(x.copy(),) for (x,) in samples]
    wild[5][0][0, 1, 3, 3] = 20 * np.abs(wild[5][0]).max()
    made = quantize(graph, wild)
    tried = [step for step in made.improvements if step.name.endswith("ranges")]
    gaining = [step for step in tried if step.gain.beyond_chance]
    assert gaining
    assert not any(step.kept for step in tried)
    assert all((step.record().refit_loss_db or 0) > 1 for step in gaining)  # 20 times too narrow
    assert all(step.refit_loss_db is None for step in tried if step not in gaining)
    assert made.range_method is RangeMethod.MINMAX
