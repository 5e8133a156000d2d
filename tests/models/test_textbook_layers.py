"""Unshared, tiled, fixed and frequency-domain layers against loops and other PyTorch forms."""

from __future__ import annotations

import cmath
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.arithmetic import transform_macs
from edgeconv.models.conv_cost import frequency_cost
from edgeconv.models.cost import network_cost
from edgeconv.models.kernels import sobel
from edgeconv.models.layers.fixed import FixedConv, RandomFeatures, SeparableFixedConv
from edgeconv.models.layers.fractionally_strided import FractionallyStrided, dilate_input
from edgeconv.models.layers.frequency import FrequencyConv
from edgeconv.models.layers.l2_pooling import L2NormPool
from edgeconv.models.layers.locally_connected import LocallyConnected
from edgeconv.models.layers.location_bias import LocationBias
from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.models.layers.spatial_group_enhance import SpatialGroupEnhance
from edgeconv.models.layers.tiled import TiledConv
from edgeconv.models.layers.transposed import TransposedConv
from support.layers import CLOSE, image


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def alive(layer: nn.Module) -> nn.Module:
    """Give every parameter values that matter; several begin as zero."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def numbers(x: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = x.detach().double().numpy()
    return values


small = st.integers(1, 3)
sides = st.tuples(st.integers(1, 7), st.integers(1, 7))


@examples(max_examples=30, deadline=None)
@given(small, small, small, st.integers(1, 5), st.integers(1, 8), sides)
def test_locally_connected_by_loops(
    n: int, c: int, m: int, k: int, stride: int, size: tuple[int, int]
) -> None:
    layer, x = alive(LocallyConnected(c, m, size, k, stride)), image(c, *size, batch=n)
    assert isinstance(layer, LocallyConnected)
    weight, lead = numbers(layer.weight), (k - 1) // 2
    padded = np.pad(numbers(x), ((0, 0), (0, 0), (lead, k), (lead, k)))
    height, width = layer.out_size
    assert (height, width) == tuple(math.ceil(side / stride) for side in size)
    expected = np.zeros((n, m, height, width))
    for row in range(height):
        for column in range(width):
            # Taps outermost, channels inside, as the layer orders its weights.
            kernel = weight[row * width + column].reshape(k, k, c, m)
            for i in range(k):
                for j in range(k):
                    pixel = padded[:, :, row * stride + i, column * stride + j]
                    expected[:, :, row, column] += pixel @ kernel[i, j]
    expected += numbers(layer.bias)
    np.testing.assert_allclose(numbers(layer(x)), expected, **CLOSE)


@pytest.mark.slow
def test_locally_connected_with_equal_kernels_is_a_convolution() -> None:
    layer, conv, x = LocallyConnected(3, 4, (6, 5)), nn.Conv2d(3, 4, 3, padding=1), image(3)
    shared = conv.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
    layer.weight.data.copy_(shared.expand_as(layer.weight))
    assert conv.bias is not None
    layer.bias.data.copy_(conv.bias.detach()[:, None, None].expand_as(layer.bias))
    torch.testing.assert_close(layer(x), conv(x), **CLOSE)


@examples(max_examples=30, deadline=None)
@given(small, small, small, st.sampled_from([1, 3, 5]), st.integers(1, 8), sides)
def test_tiled_by_loops(n: int, c: int, m: int, k: int, tiles: int, size: tuple[int, int]) -> None:
    layer, x = alive(TiledConv(c, m, k, tiles=tiles)), image(c, *size, batch=n)
    assert isinstance(layer, TiledConv)
    weight, bias = numbers(layer.weight), numbers(layer.bias)
    padded = np.pad(numbers(x), ((0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    expected = np.zeros((n, m, *size))
    for row in range(size[0]):
        for column in range(size[1]):
            patch = padded[:, :, row : row + k, column : column + k]
            turn = row % tiles, column % tiles
            expected[:, :, row, column] = (
                np.einsum("ncij,mcij->nm", patch, weight[turn]) + bias[turn]
            )
    np.testing.assert_allclose(numbers(layer(x)), expected, **CLOSE)


def test_a_bias_for_every_location() -> None:
    layer, x = alive(LocationBias(3, (6, 5))), image(3)
    assert isinstance(layer, LocationBias)
    expected = x.numpy() + layer.bias.detach().numpy()
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LocallyConnected(3, 4, (6, 5)), "every position of 6x5 inputs, not of 7x5"),
        (LocationBias(3, (6, 5)), "every position of 3x6x5, not of 3x7x5"),
    ],
)
def test_what_is_bound_to_a_size_refuses_another(layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(image(3, 7, 5))


def test_l2_pooling_is_pytorchs_and_has_a_gradient_at_zero() -> None:
    x = image(3, 6, 6)
    torch.testing.assert_close(L2NormPool(3)(x), nn.LPPool2d(2, 3)(x), rtol=1e-4, atol=1e-3)
    flat = torch.zeros(1, 1, 4, 4, requires_grad=True)
    L2NormPool()(flat).sum().backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


@examples(max_examples=25)
@given(
    st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 9), st.integers(1, 9),
)  # fmt: skip
def test_the_frequency_domain_is_the_direct_one(c: int, m: int, k: int, h: int, w: int) -> None:
    layer, x = alive(FrequencyConv(c, m, k)), image(c, h, w)
    assert isinstance(layer, FrequencyConv)
    direct = functional.conv2d(x, layer.weight, layer.bias, padding=k // 2)
    # The transform of P² points adds up to 256 values of about 5.
    torch.testing.assert_close(layer(x), direct, rtol=1e-4, atol=1e-4)


class Counting:
    """The textbook's radix-2 transform, counting its complex multiplications."""

    def __init__(self) -> None:
        self.count = 0

    def one(self, x: list[complex]) -> list[complex]:
        if len(x) == 1:
            return x
        even, odd = self.one(x[::2]), self.one(x[1::2])
        turned = [cmath.exp(-2j * math.pi * i / len(x)) * value for i, value in enumerate(odd)]
        self.count += len(turned)
        pairs = list(zip(even, turned, strict=True))
        return [a + b for a, b in pairs] + [a - b for a, b in pairs]

    def two(self, x: NDArray[np.float64]) -> NDArray[np.complex128]:
        rows = np.array([self.one(list(row)) for row in x])
        return np.array([self.one(list(column)) for column in rows.T]).T


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 4), (2, 32)])
def test_the_multiplications_of_a_transform_are_counted(height: int, width: int) -> None:
    x, transform = np.random.default_rng(0).normal(size=(height, width)), Counting()
    np.testing.assert_allclose(transform.two(x), np.fft.fft2(x), atol=1e-9)
    # Four real ones each; a real signal needs half of them.
    assert transform_macs(height * width) == 4 * transform.count // 2


@pytest.mark.slow
@pytest.mark.parametrize(("c", "m", "k", "size"), [(3, 8, 5, 12), (1, 1, 7, 10)])
def test_the_frequency_domain_costs_what_its_layer_does(c: int, m: int, k: int, size: int) -> None:
    cost, shape = frequency_cost(c, m, k, size), (c, size, size)
    assert cost.macs == network_cost(FrequencyConv(c, m, k), shape).macs
    assert cost.direct_macs == network_cost(nn.Conv2d(c, m, k, padding=k // 2), shape).macs


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 40))
def test_from_which_kernel_on_the_frequency_domain_is_cheaper(c: int, m: int, size: int) -> None:
    odd = range(1, size + 1, 2)
    costs = {k: frequency_cost(c, m, k, size) for k in odd}
    cheaper = {k: cost.macs < cost.direct_macs for k, cost in costs.items()}
    from_on = (k for k in odd if all(cheaper[j] for j in odd if j >= k))
    assert costs[1].fewer_from == min(from_on, default=None)
    ranges = costs[1].fewer_at
    assert {k for k in odd if any(a <= k <= b for a, b in ranges)} == {k for k in odd if cheaper[k]}
    assert all(b + 2 < a for (_, b), (a, _) in itertools.pairwise(ranges))  # none touch


def test_a_map_of_any_size_is_answered_at_once() -> None:
    assert frequency_cost(2, 2, 3, 10**9).fewer_from == 9


def test_many_channels_share_the_transforms() -> None:
    single, many = (frequency_cost(n, n, 3, 64).fewer_from for n in (1, 64))
    assert single is not None
    assert many is not None
    assert many < single


@examples(max_examples=30, deadline=None)
@given(small, small, small, sides)
def test_spatial_group_enhance_by_loops(n: int, c: int, g: int, size: tuple[int, int]) -> None:
    layer, x = alive(SpatialGroupEnhance(c * g, g)), image(c * g, *size, batch=n)
    assert isinstance(layer, SpatialGroupEnhance)
    weight, bias = numbers(layer.weight).ravel(), numbers(layer.bias).ravel()
    given = numbers(x)
    expected = np.empty_like(given)
    for sample in range(n):
        for group in range(g):
            part = given[sample, c * group : c * group + c]
            mean = part.mean(axis=(1, 2))
            similar = np.sum([mean[i] * part[i] for i in range(c)], axis=0)
            normal = (similar - similar.mean()) / np.sqrt(similar.var() + 1e-5)
            gate = 1 / (1 + np.exp(-(weight[group] * normal + bias[group])))
            expected[sample, c * group : c * group + c] = part * gate
    np.testing.assert_allclose(numbers(layer(x)), expected, **CLOSE)


def test_spatial_groups_must_divide_the_channels() -> None:
    with pytest.raises(ValueError, match="4 groups do not divide 6 channels"):
        SpatialGroupEnhance(6, 4)


@pytest.mark.parametrize(("k", "s"), [(2, 2), (4, 2), (3, 1), (5, 3), (3, 3)])
def test_a_transposed_convolution_is_one_of_a_dilated_input(k: int, s: int) -> None:
    transposed, dilated = TransposedConv(3, 4, k, s), FractionallyStrided(3, 4, k, up=s)
    dilated.weight.data.copy_(transposed.weight.detach().transpose(0, 1).flip(2, 3))
    assert transposed.bias is not None
    assert dilated.bias is not None
    dilated.bias.data.copy_(transposed.bias.detach())
    x = image(3)
    torch.testing.assert_close(dilated(x), transposed(x), **CLOSE)
    # The zeros are what it pays for.
    costs = [network_cost(layer, (3, 6, 5)).macs for layer in (dilated, transposed)]
    assert costs[0] == s**2 * costs[1]


@examples(max_examples=30, deadline=None)
@given(small, small, small, st.integers(1, 4), st.integers(1, 6), st.integers(0, 3), sides)
def test_fractionally_strided_by_loops(
    n: int, c: int, m: int, up: int, down: int, more: int, size: tuple[int, int]
) -> None:
    k = up + more
    layer, x = alive(FractionallyStrided(c, m, k, up=up, down=down)), image(c, *size, batch=n)
    assert isinstance(layer, FractionallyStrided)
    weight, given = numbers(layer.weight), numbers(x)
    assert layer.bias is not None
    height, width = (math.ceil(up * side / down) for side in size)
    expected = np.tile(numbers(layer.bias)[:, None, None], (n, 1, height, width))
    lead = k - 1 - (k - up) // 2
    for row in range(height):
        for column in range(width):
            for i in range(k):
                for j in range(k):
                    # Only every up-th tap lies on a pixel; the others lie on zeros.
                    y, x_ = (down * at + t - lead for at, t in ((row, i), (column, j)))
                    inside = 0 <= y < up * size[0] and 0 <= x_ < up * size[1]
                    if inside and y % up == 0 and x_ % up == 0:
                        pixel = given[:, :, y // up, x_ // up]
                        expected[:, :, row, column] += pixel @ weight[:, :, i, j].T
    np.testing.assert_allclose(numbers(layer(x)), expected, **CLOSE)


@examples(max_examples=30, deadline=None)
@given(small, small, st.integers(1, 4), sides)
def test_l2_pooling_by_loops(n: int, c: int, k: int, size: tuple[int, int]) -> None:
    height, width = (k * side for side in size)
    x = image(c, height + k - 1, width + k - 1, batch=n)
    windows = numbers(x)[:, :, :height, :width].reshape(n, c, size[0], k, size[1], k)
    expected = np.sqrt((windows**2).sum(axis=(3, 5)) + 1e-6)
    np.testing.assert_allclose(numbers(L2NormPool(k)(x)), expected, **CLOSE)


@pytest.mark.parametrize(("up", "down", "size"), [(3, 2, (9, 8)), (2, 3, (4, 4)), (1, 2, (3, 3))])
def test_the_image_grows_or_shrinks_by_a_fraction(
    up: int, down: int, size: tuple[int, int]
) -> None:
    layer, x = FractionallyStrided(2, 3, 5, up=up, down=down), image(2)
    y = layer(x)
    assert y.shape[2:] == size
    # Every d-th position of the layer without the stride.
    dense = FractionallyStrided(2, 3, 5, up=up)
    dense.load_state_dict(layer.state_dict())
    torch.testing.assert_close(y, dense(x)[:, :, ::down, ::down], **CLOSE)


def test_without_zeros_it_is_a_strided_convolution() -> None:
    layer, x = FractionallyStrided(2, 3, 5, up=1, down=2), image(2)
    strided = functional.conv2d(x, layer.weight, layer.bias, stride=2, padding=2)
    torch.testing.assert_close(layer(x), strided, **CLOSE)


def test_the_dilated_input_has_its_pixels_apart() -> None:
    x = image(2)
    expected = np.zeros((2, 2, 18, 15), dtype=np.float32)
    expected[:, :, ::3, ::3] = x.numpy()
    np.testing.assert_array_equal(dilate_input(x, 3).numpy(), expected)


def test_a_kernel_smaller_than_the_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel of 2 falls between pixels that are 3 apart"):
        FractionallyStrided(1, 1, 2, up=3)


@pytest.mark.parametrize(
    "build",
    [
        lambda k: TiledConv(1, 2, k),
        lambda k: FrequencyConv(1, 2, k),
        lambda k: RandomFeatures(1, 2, k),
        lambda k: ResizeConv(1, 2, k),
        lambda k: FixedConv(1, torch.ones(2, k, k)),
        lambda k: SeparableFixedConv(1, torch.ones(2, k, k)),
    ],
)
@pytest.mark.parametrize("k", [0, 2, 4])
def test_a_kernel_without_a_middle_is_refused(build: Callable[[int], nn.Module], k: int) -> None:
    with pytest.raises(ValueError, match=f"must be odd here, not {k}"):
        build(k)


def test_sge_of_no_samples_is_none() -> None:
    assert SpatialGroupEnhance(4, 2)(torch.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)


def test_random_features_follow_their_seed_and_stay() -> None:
    first, again, other = (RandomFeatures(3, 8, seed=seed) for seed in (1, 1, 2))
    x = image(3)
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)
    assert not torch.equal(first(x), other(x))
    expected = functional.conv2d(x, first.weight, padding=1).clamp(min=0)
    torch.testing.assert_close(first(x), expected, **CLOSE)
    assert list(first.parameters()) == []


LEARNED = [
    LocallyConnected(3, 4, (6, 6)),
    TiledConv(3, 4, tiles=2),
    LocationBias(3, (6, 6)),
    FrequencyConv(3, 4, 3),
    SpatialGroupEnhance(3, 1),
    FractionallyStrided(3, 4, 4),
    nn.Sequential(nn.Conv2d(3, 4, 1), L2NormPool()),
    nn.Sequential(nn.Conv2d(3, 3, 1), FixedConv(3, sobel())),
    nn.Sequential(nn.Conv2d(3, 3, 1), SeparableFixedConv(3, sobel())),
    nn.Sequential(nn.Conv2d(3, 3, 1), RandomFeatures(3, 4)),
]


def name(layer: nn.Module) -> str:
    return type(layer[-1] if isinstance(layer, nn.Sequential) else layer).__name__


@pytest.mark.parametrize("layer", LEARNED, ids=name)
def test_gradient_reaches_every_weight(layer: nn.Module) -> None:
    alive(layer)
    layer(image(3, 6, 6)).square().mean().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A weight whose gradient is zero would never learn; ReLU may silence none of these.
        assert (parameter.grad != 0).any(), name
