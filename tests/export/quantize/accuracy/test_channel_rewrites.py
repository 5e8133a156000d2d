"""Equalization and absorption keep the function; layers and patches are what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, prepare, quantize
from edgeconv.export.quantize.accuracy.absorb import absorb
from edgeconv.export.quantize.accuracy.equalize import equalize, equalize_sums
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.accuracy.patches import sample_patches
from edgeconv.export.quantize.accuracy.segments import find_segments
from edgeconv.export.quantize.calibration.channel_statistics import observe_channels
from edgeconv.export.quantize.layers import Layer, grouped, is_weighted, ungrouped
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

SHAPE = (4, 8, 8)


def graph_of(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> ir.Model:
    randomize_(network, shape=shape)
    captured = capture_module(network, samples(1, shape)[0], ["output"], 20)
    return prepare(optimize(captured))


def sqnr_of(network: nn.Module) -> float:
    """What int8 keeps on samples that it was not calibrated on."""
    captured = capture_module(network.eval(), samples(1)[0], ["output"], 20)
    model = prepare(optimize(captured))
    unseen = samples(64)[32:]
    return Judge.on(model, unseen).sqnr_db(quantize(model, samples(32)).model)


def samples(count: int, shape: tuple[int, ...] = SHAPE) -> list[Sample]:
    return [(structured_input((1, *shape), seed).numpy(),) for seed in range(count)]


class Fork(nn.Module):
    """A residual sum, two readers of one activation, and a convolution whose output is the
    network's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 1)
        self.a = nn.Conv2d(8, 6, 3)
        self.b = nn.ConvTranspose2d(8, 6, 3, padding=2)
        self.head = nn.Conv2d(6, 5, 1)
        self.last = nn.Conv2d(5, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.stem(x))
        z = self.head(self.a(y) + self.b(y))
        return torch.sigmoid(z) + self.last(z)


class Residual(nn.Module):
    """Residual sums with a gate, a pool and an activation behind, and a difference."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        self.stem = nn.Conv2d(4, 8, 1)
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.own = nn.Conv2d(8, 8, 1)
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        z = self.block(y)
        y = y + z * self.squeeze(z)
        y = y - self.own(y)
        return self.head(self.activation(y))


class Squared(nn.Module):
    """Products, joins and outputs of channels, which would see them changed."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 8, 1) for _ in range(3))
        self.heads = nn.ModuleList(nn.Conv2d(channels, 4, 1) for channels in (8, 16, 8))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        a, b, c = self.a(x), self.b(x), self.c(x) + 1.0
        product = torch.relu(a) * a
        joined = torch.cat([b, torch.relu(b)], dim=1)
        heads = [head(each) for head, each in zip(self.heads, (product, joined, c), strict=True)]
        return (*heads, c)


NETWORKS: dict[str, nn.Module] = {
    "depthwise, grouped, dense": nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, groups=8),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 8, 3, groups=4),
        nn.PReLU(8),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 7),
        nn.ReLU(),
        nn.Linear(7, 3),
    ),
    "ReLU6": nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Conv2d(8, 4, 1)
    ),
    "fork": Fork(),
    "residual": Residual(nn.ReLU6()),
}


def rescaled_as_it_was(model: ir.Model, shape: tuple[int, ...] = SHAPE) -> int:
    """Rescale channels, compare the network with what it was, and return how many segments
    changed."""
    changed = model.clone()
    segments = find_segments(changed.graph)
    names = sorted({name for segment in segments for name in segment.carriers})
    statistics = observe_channels(model, names, samples(8, shape)) if names else {}
    changed_by = [rescale(segments, statistics) for rescale in (absorb, equalize, equalize_sums)]
    # On the samples that it saw; float32 rounds at 2^-24, a hundred operations lose two digits.
    for sample in samples(8, shape):
        (expected,), (got,) = (
            IntermediateOutputs(graph, ["output"]).run(sample) for graph in (model, changed)
        )
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return sum(changed_by)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_float_network_computes_the_same(name: str) -> None:
    assert rescaled_as_it_was(graph_of(NETWORKS[name])) > 0


class Between(nn.Module):
    """What happens between two layers."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.between = between
        self.stem, self.head = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.between(self.stem(x)))


@pytest.mark.parametrize(
    "between",
    [
        lambda y: y * y,
        lambda y: torch.clamp(functional.leaky_relu(y, -8.0), 0, 6),
        lambda y: torch.clamp(functional.prelu(y, torch.linspace(-9, 9, 8)), 0, 6),
        lambda y: torch.clamp(y, max=-0.25),
        lambda y: torch.clamp(y, max=0.0),
    ],
    ids=["a square", "a steep LeakyReLU", "a steep PReLU", "a bound below 0", "a bound of 0"],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_is_no_scale_of_channels_stays(
    between: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    assert rescaled_as_it_was(graph_of(Between(between))) == 0


def test_a_vector_that_is_added_along_the_last_dimension_shares_no_channels() -> None:
    """Of fewer dimensions, it has the sizes of batch and channels all the same."""

    class Added(Between):
        def __init__(self) -> None:
            super().__init__(lambda y: y)
            self.vector = nn.Linear(4, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.stem(x) + self.vector(x.mean((2, 3))))

    shape = (4, 3, 8)
    assert rescaled_as_it_was(graph_of(Added(), shape), shape) == 0


def test_a_residual_sum_is_one_segment() -> None:
    (stream,) = [
        segment
        for segment in find_segments(graph_of(NETWORKS["residual"]).graph)
        if len(segment.values) > 1
    ]
    # The stem, the last of the block and the one that is subtracted make the channels; the block,
    # the squeeze, the one that is subtracted and the head read them.
    assert (len(stream.producers), len(stream.consumers)) == (3, 4)
    assert {node.op_type for node in stream.between} >= {"Add", "Sub", "Mul", "Clip", "MaxPool"}
    assert stream.bound == 6


def test_products_joins_and_outputs_end_a_segment() -> None:
    assert find_segments(graph_of(Squared()).graph) == []


def test_a_function_that_is_not_homogeneous_ends_a_segment() -> None:
    (segment,) = find_segments(graph_of(NETWORKS["fork"]).graph)[:1]
    # The stem alone, with both of its readers.
    assert [layer.node.op_type for layer in segment.consumers] == ["Conv", "ConvTranspose"]


def test_noise_before_a_gate_counts_as_far_as_the_gate_passes_it_on() -> None:
    """One set of factors cannot even out channels on both sides of a gate that scales them."""
    gate = torch.logspace(-2, 2, 8).view(1, 8, 1, 1)
    network = randomize_(Between(lambda y: torch.relu(y) * gate), shape=SHAPE)
    captured = capture_module(network.eval(), samples(1)[0], ["output"], 20)
    model = prepare(optimize(captured))
    changed = model.clone()
    segments = find_segments(changed.graph)
    names = sorted({name for segment in segments for name in segment.carriers})
    equalize_sums(segments, observe_channels(model, names, samples(32)))
    judge, plain = Judge.on(model, samples(64)[32:]), QuantizeOptions(effort=0)
    before, after = (
        judge.sqnr_db(quantize(graph, samples(32), plain).model) for graph in (model, changed)
    )
    assert after > before - 1


def test_a_residual_stream_survives_rescaled_channels() -> None:
    """A thousandth of the range of another channel is less than a step of 8 bits."""
    network = Residual(nn.ReLU())
    randomize_(network, shape=SHAPE)
    plain = sqnr_of(network)
    factors = torch.logspace(-1.5, 1.5, 8)
    writers, readers = (network.stem, network.block[2], network.own), (network.own, network.head[1])
    with torch.no_grad():
        for writer in writers:
            writer.weight *= factors[:, None, None, None]
            writer.bias *= factors
        for reader in (network.block[0], network.squeeze[1], *readers):
            reader.weight /= factors[None, :, None, None]
    # It keeps 5 dB where residual sums stay as they are, and 27 dB as this is written.
    assert sqnr_of(network) > plain - 3


@pytest.mark.parametrize("name", NETWORKS)
def test_a_weight_survives_the_grouped_form(name: str) -> None:
    for node in graph_of(NETWORKS[name]).graph:
        if is_weighted(node):
            weight = node.inputs[1].const_value.numpy()
            again = ungrouped(node, grouped(node, weight), weight.shape)
            np.testing.assert_array_equal(again, weight)


@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
    groups=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=5, deadline=None)
def test_patches_are_what_a_convolution_reads(
    kernel: int, stride: int, dilation: int, padding: int, groups: int
) -> None:
    convolution = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups=groups, bias=False)
    model = graph_of(nn.Sequential(convolution))
    node = next(node for node in model.graph if node.op_type == "Conv")
    (patches,) = sample_patches(model, [node], samples(2), total=2, rows=12)
    weight = Layer(GraphEditor(model.graph), node).weight
    got = np.einsum("sgd,god->sgo", patches, weight.reshape(*weight.shape[:2], -1)).reshape(12, 4)
    with torch.inference_mode():
        maps = [convolution(torch.from_numpy(sample[0]))[0].flatten(1).T for sample in samples(2)]
    outputs = torch.cat(maps).numpy()
    # Every sampled row is one of the convolution's outputs, up to the order of summation.
    distance = np.abs(got[:, None] - outputs[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-4


def test_statistics_are_those_of_numpy() -> None:
    model = graph_of(NETWORKS["fork"])
    name = str(find_segments(model.graph)[0].values[0].name)
    maps = np.concatenate(
        [IntermediateOutputs(model, [name]).run(sample)[0] for sample in samples(5)]
    )
    observed = observe_channels(model, [name], samples(5))[name]
    np.testing.assert_allclose(observed.low, maps.min(axis=(0, 2, 3)))
    np.testing.assert_allclose(observed.high, maps.max(axis=(0, 2, 3)))
    mean_square = np.square(maps, dtype=np.float64).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(observed.mean_square, mean_square, rtol=1e-6)


@pytest.mark.parametrize("groups", [2, 8])
def test_a_grouped_transposed_convolution_is_quantized(groups: int) -> None:
    """Its weight has one scale for an output of every group, its bias one for each output."""
    network = nn.Sequential(
        nn.Conv2d(4, 8, 1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, stride=2, groups=groups)
    )
    model = graph_of(network)
    result = quantize(model, samples(8), QuantizeOptions())
    # 8 bits, two layers: more than 35 dB.
    assert Judge.on(model, samples(8)).sqnr_db(result.model) > 30


def test_dead_and_constant_channels_do_no_harm() -> None:
    network = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    randomize_(network, shape=SHAPE)
    with torch.no_grad():
        network[0].weight[:4] = 0
        network[0].bias[:4] = torch.tensor([0.0, -5.0, 1e-30, 3.0])
        network[2].weight[:2] = 0
        network[2].bias[:2] = torch.tensor([0.0, 2.0])
    captured = capture_module(network.eval(), samples(1)[0], ["output"], 20)
    model = prepare(optimize(captured))
    result = quantize(model, samples(8))
    assert Judge.on(model, samples(8)).sqnr_db(result.model) > 30
