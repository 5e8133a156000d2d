"""One pass over the samples: any order, any batch, bounded memory, the whole network."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.errors import DataError
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize.calibration.calibrate import Calibration, calibrate
from edgeconv.export.quantize.calibration.observer import Observer, stride
from edgeconv.export.quantize.calibration.ranges.histogram import count
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.quantize.plan import plan
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod
from edgeconv.models.randomize import randomize_, structured_input

METHODS = [method for method in RangeMethod if method is not RangeMethod.AUTO]

SHAPE = (3, 24, 24)


class Small(nn.Module):
    """A concatenation shares its scale with both of its inputs; a sigmoid has a fixed one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.left, self.right = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.stem(x))
        y = torch.cat([self.left(y), self.right(y) * 3], 1)
        return torch.sigmoid(self.head(y.mean((2, 3))))


def captured(network: nn.Module, batch: int = 1) -> ir.Model:
    example = (structured_input((batch, *SHAPE), 0).numpy(),)
    return optimize(capture_module(network, example, ["output"], 20))


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return captured(randomize_(Small(), shape=SHAPE))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [(structured_input((1, *SHAPE), seed).numpy() * (1 + seed),) for seed in range(12)]


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4, deadline=None)
def test_the_order_of_samples_changes_nothing(
    graph: ir.Model, samples: list[Sample], method: RangeMethod, seed: int
) -> None:
    groups = plan(graph.graph).groups()
    shuffled = random.Random(seed).sample(samples, len(samples))
    first = calibrate(graph, groups, samples, method).ranges
    assert calibrate(graph, groups, shuffled, method).ranges == first


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_as_good_as_its_samples(samples: list[Sample], method: RangeMethod) -> None:
    network = randomize_(Small(), shape=SHAPE)
    singles, fours = captured(network), captured(network, batch=4)
    batches = [
        (np.concatenate([sample[0] for sample in samples[first : first + 4]]),)
        for first in range(0, len(samples), 4)
    ]
    one = calibrate(singles, plan(singles.graph).groups(), samples, method).ranges
    four = calibrate(fours, plan(fours.graph).groups(), batches, method).ranges
    for a, b in zip(one.values(), four.values(), strict=True):
        # Another batch is summed in another order: a value may cross the edge of a bin.
        width = a.high - a.low
        assert abs(a.low - b.low) <= 0.02 * width
        assert abs(a.high - b.high) <= 0.02 * width


def test_minmax_is_the_least_and_the_greatest(graph: ir.Model, samples: list[Sample]) -> None:
    name = graph.graph.inputs[0].name
    found = calibrate(graph, {"x": [name]}, samples).ranges["x"]
    stacked = np.stack([sample[0] for sample in samples])
    assert found == Range(float(stacked.min()), float(stacked.max()))


def test_groups_share_a_range_and_fixed_ones_are_not_observed(
    graph: ir.Model, samples: list[Sample]
) -> None:
    decisions = plan(graph.graph)
    groups = decisions.groups()
    concat = next(node for node in graph.graph if node.op_type == "Concat")
    assert all(graph.graph.outputs[0].name not in members for members in groups.values())
    for method in METHODS:
        parameters = decisions.parameters(calibrate(graph, groups, samples, method).ranges)
        assert parameters.keys() == decisions.activations.keys()
        assert parameters[graph.graph.outputs[0]].scale == 1 / 256
        assert len({parameters[value] for value in (*concat.inputs, *concat.outputs)}) == 1


class Gated(nn.Module):
    """A concatenation of a sigmoid, whose range is fixed, and a convolution beyond it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.value = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.sigmoid(self.gate(x)), self.value(x) * 5], 1)


def test_a_fixed_range_clips_nobody_who_shares_it(samples: list[Sample]) -> None:
    graph = captured(randomize_(Gated(), shape=SHAPE))
    decisions = plan(graph.graph, QuantizeOptions(integer_outputs=True))
    found = calibrate(graph, decisions.groups(), samples)
    chosen = decisions.parameters(found.ranges)
    parameters = chosen[graph.graph.outputs[0]]
    sigmoid = next(node for node in graph.graph if node.op_type == "Sigmoid")
    assert chosen[sigmoid.outputs[0]] == parameters
    assert parameters.range.high > 2
    assert parameters.range.low < -2


def test_outputs_are_never_clipped(samples: list[Sample]) -> None:
    graph = captured(randomize_(nn.Conv2d(3, 4, 3), shape=SHAPE))
    name = graph.graph.outputs[0].name
    spike = (samples[0][0].copy(),)
    spike[0][0, 0, 12, 12] = 1e4
    whole = calibrate(graph, {"output": [name]}, [*samples, spike])
    for method in METHODS:
        found = calibrate(graph, {"output": [name]}, [*samples, spike], method)
        assert found.ranges == whole.ranges, method


def test_an_infinite_activation_is_named_with_its_batch(
    graph: ir.Model, samples: list[Sample]
) -> None:
    groups = plan(graph.graph).groups()
    bad = [*samples[:5], (np.full((1, *SHAPE), np.inf, np.float32),), *samples[5:]]
    for method in (RangeMethod.MINMAX, RangeMethod.MSE):
        with pytest.raises(DataError, match="NaN or infinite on calibration batch 6"):
            calibrate(graph, groups, bad, method)


class Endless:
    """``length`` samples, none of which is held."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for _ in range(self.length):
            yield (rng.standard_normal((1, *SHAPE), np.float32),)


def test_memory_does_not_grow_with_the_samples(graph: ir.Model) -> None:
    groups = plan(graph.graph).groups()
    peaks = []
    for length in (128, 1024):
        tracemalloc.start()
        calibrate(graph, groups, Endless(length), RangeMethod.MSE)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # What the second thread has not got round to differs from run to run.
    assert peaks[1] < peaks[0] * 1.5


def test_progress_counts_batches(graph: ir.Model, samples: list[Sample]) -> None:
    steps: list[tuple[str, int, int]] = []
    calibrate(
        graph,
        plan(graph.graph).groups(),
        samples,
        progress=lambda step, done, total: steps.append((step, done, total)),
    )
    assert steps == [("Calibrating", done, 12) for done in range(13)]


def test_settled_samples_say_nothing(graph: ir.Model) -> None:
    found = calibrate(graph, plan(graph.graph).groups(), Endless(40))
    assert max(found.movement().values()) < 0.25
    assert found.unsettled() == ""


def test_ranges_that_still_move_are_named(graph: ir.Model, samples: list[Sample]) -> None:
    found = calibrate(graph, plan(graph.graph).groups(), samples)  # each larger than the last
    assert "still moved by" in found.unsettled()
    assert "single sample" in calibrate(graph, plan(graph.graph).groups(), samples[:1]).unsettled()


def test_movement_is_a_share_of_the_range() -> None:
    found = Calibration(
        {"a": Range(0.0, 10.0), "b": Range(-4.0, 4.0), "c": Range(0.0, 0.0)},
        {"a": Range(0.0, 8.0), "b": Range(-2.0, 4.0), "c": Range(0.0, 0.0)},
    )
    assert found.movement() == pytest.approx({"a": 0.2, "b": 0.25, "c": 0.0})
    assert "'b' still moved by 25%" in found.unsettled()


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4))
def test_strides_meet_every_channel_row_and_column(shape: list[int]) -> None:
    step = stride(shape)
    size = int(np.prod(shape))
    assert size / step <= 1 << 13
    if size > 1 << 20 or step == 1:
        return
    indices = np.unravel_index(np.arange(0, size, step), shape)
    for dimension, length in zip(indices, shape, strict=True):
        assert step < length or len(np.unique(dimension)) == length


def test_a_large_activation_is_counted_in_part_and_its_extremes_are_exact() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((1, 7, 80, 80)).astype(np.float32)
    values[0, 6, 79, 79], values[0, 0, 0, 1] = 100, -90
    observer = Observer(["x"], batch=1, counting=True)
    observer.add([[values], [values]])
    seen = observer.histogram("x")
    assert (seen.minimum, seen.maximum) == (-90, 100)
    step = seen.weight
    assert step == 9
    assert seen.counts.sum() == 2 * -(-values.size // step)
    assert np.array_equal(seen.counts, 2 * count(values.reshape(-1)[::step].copy()))


@pytest.mark.parametrize("side", [4, 80])
def test_batches_together_are_seen_as_one_by_one(side: int) -> None:
    rng = np.random.default_rng(0)
    batches = [[rng.standard_normal((1, 7, side, side)).astype(np.float32)] for _ in range(3)]
    together, apart = (Observer(["x"], batch=1, counting=True, by_channel={"x"}) for _ in range(2))
    together.add(batches)
    for batch in batches:
        apart.add([batch])
    mine, others = together.observed, apart.observed
    assert np.array_equal(mine.histograms["x"].counts, others.histograms["x"].counts)
    assert np.array_equal(mine.sums["x"].squares, others.sums["x"].squares)
    assert np.array_equal(mine.channels["x"].low, others.channels["x"].low)
