"""Every layer against a plain reference, or the property that it is known for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.aspp import ASPP
from edgeconv.models.layers.causal import CausalConv1d
from edgeconv.models.layers.channel_shuffle import GroupedShuffle, channel_shuffle
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.dense import DenseLayer
from edgeconv.models.layers.depthwise import Depthwise
from edgeconv.models.layers.depthwise_separable import DepthwiseSeparable
from edgeconv.models.layers.dilated import Dilated
from edgeconv.models.layers.feature_pyramid import FeaturePyramid
from edgeconv.models.layers.gated_residual import GatedResidual
from edgeconv.models.layers.ghost import GhostModule
from edgeconv.models.layers.inverted_residual import InvertedResidual
from edgeconv.models.layers.network_in_network import MlpConv
from edgeconv.models.layers.pointwise import Pointwise
from edgeconv.models.layers.preactivation import PreactBasicBlock, PreactBottleneck
from edgeconv.models.layers.residual import BasicBlock, Bottleneck
from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.models.layers.resnext import ResNeXtBlock
from edgeconv.models.layers.selective_kernel import SelectiveKernel
from edgeconv.models.layers.spatially_separable import SpatiallySeparable
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.layers.sub_pixel import SubPixelConv
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.layers.unet import UNetSkip
from edgeconv.models.layers.unpooling import PoolUnpool
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

# Sums in another order: float32 agrees to a few parts in a million of values about 1.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def image(channels: int, size: int = 10, batch: int = 2) -> Tensor:
    return structured_input((batch, channels, size, size), seed=4)


@given(st.floats(1, 5000), st.sampled_from([4, 8, 16]))
def test_rounded_channels_lose_a_tenth_at_most(channels: float, divisor: int) -> None:
    rounded = make_divisible(channels, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * channels)
    assert rounded <= max(divisor, channels + divisor)


def test_depthwise_is_a_convolution_for_each_channel() -> None:
    layer, x = Depthwise(3, multiplier=2), image(3)
    each = [
        functional.conv2d(x[:, c : c + 1], layer.weight[2 * c : 2 * c + 2], padding=1)
        for c in range(3)
    ]
    torch.testing.assert_close(layer(x), torch.cat(each, dim=1), **CLOSE)


def test_pointwise_is_a_linear_layer_at_every_position() -> None:
    layer, x = Pointwise(3, 5), image(3)
    linear = x.permute(0, 2, 3, 1) @ layer.weight[:, :, 0, 0].T
    torch.testing.assert_close(layer(x), linear.permute(0, 3, 1, 2), **CLOSE)


def test_depthwise_separable_is_a_constrained_standard_convolution() -> None:
    depthwise, pointwise, x = Depthwise(3), Pointwise(3, 5), image(3)
    weight = pointwise.weight * depthwise.weight.view(1, 3, 3, 3)
    standard = functional.conv2d(x, weight, padding=1)
    torch.testing.assert_close(pointwise(depthwise(x)), standard, **CLOSE)


def test_depthwise_separable_normalizes_and_activates_twice() -> None:
    layer, x = randomize_(DepthwiseSeparable(3, 5), shape=(3, 10, 10)), image(3)
    assert isinstance(layer, DepthwiseSeparable)
    y = functional.relu(layer.depthwise[1](layer.depthwise[0](x)))
    y = functional.relu(layer.pointwise[1](layer.pointwise[0](y)))
    torch.testing.assert_close(layer(x), y)


def test_spatially_separable_is_an_outer_product() -> None:
    layer, x = SpatiallySeparable(3, 3, 5, stride=2, groups=3), image(3, 11)
    outer = layer.column.weight * layer.row.weight
    standard = functional.conv2d(x, outer, stride=2, padding=2, groups=3)
    torch.testing.assert_close(layer(x), standard, **CLOSE)


def test_dilated_is_a_kernel_with_holes() -> None:
    layer, x = Dilated(2, 3, dilation=3), image(2, 12)
    holes = torch.zeros(3, 2, 7, 7)
    holes[:, :, ::3, ::3] = layer.weight
    torch.testing.assert_close(layer(x), functional.conv2d(x, holes, padding=3), **CLOSE)


def test_causal_reads_no_future() -> None:
    layer, x = CausalConv1d(2, 3, 3, dilation=4), torch.randn(1, 2, 30)
    changed = x.clone()
    changed[..., 17:] += 1
    before, after = layer(x), layer(changed)
    torch.testing.assert_close(before[..., :17], after[..., :17])
    assert not torch.allclose(before[..., 17], after[..., 17])
    unit = GatedResidual(2, 3, 3, 4)
    for a, b in zip(unit(x), unit(changed), strict=True):
        torch.testing.assert_close(a[..., :17], b[..., :17])


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_shuffle_is_pytorchs(groups: int) -> None:
    x = image(12)
    torch.testing.assert_close(channel_shuffle(x, groups), nn.ChannelShuffle(groups)(x))


def test_two_shuffled_groups_reach_all_channels() -> None:
    def reached(chain: nn.Module) -> int:
        x = image(8).requires_grad_()
        chain(x)[:, 0].sum().backward()
        assert x.grad is not None
        return int((x.grad.abs().sum(dim=(0, 2, 3)) > 0).sum())

    # Linear layers in training mode: no activation can silence a channel.
    plain = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1, groups=2) for _ in range(2)))
    shuffled = nn.Sequential(*(GroupedShuffle(8, 8, groups=2, activation=None) for _ in range(2)))
    assert reached(plain) == 4
    assert reached(randomize_(shuffled, shape=(8, 10, 10))) == 8


@pytest.mark.parametrize(("k", "s"), [(2, 2), (4, 2), (3, 1), (5, 3)])
def test_transposed_is_the_gradient_of_a_convolution(k: int, s: int) -> None:
    layer, y = TransposedConv(3, 2, k, s), image(3, 6)
    x = torch.zeros(2, 2, 6 * s, 6 * s, requires_grad=True)
    down = functional.conv2d(x, layer.weight, stride=s, padding=(k - s) // 2)
    (gradient,) = torch.autograd.grad(down, x, grad_outputs=y)
    assert layer.bias is not None
    torch.testing.assert_close(layer(y), gradient + layer.bias[:, None, None], **CLOSE)


def test_transposed_refuses_sizes_that_do_not_scale() -> None:
    with pytest.raises(ValueError, match="not 3 with 2"):
        TransposedConv(1, 1, 3, 2)


def checkerboard(layer: nn.Module) -> float:
    """How much the inside of an enlarged constant varies."""
    with torch.no_grad():
        return float(layer(torch.ones(1, 2, 8, 8))[..., 4:-4, 4:-4].std(dim=(2, 3)).max())


def test_the_checkerboard_and_the_two_ways_round_it() -> None:
    uneven = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1)
    sub_pixel = SubPixelConv(2, 3)
    assert checkerboard(uneven) > 0.01
    assert checkerboard(sub_pixel) > 0.01
    # A constant stays constant up to rounding.
    assert checkerboard(ResizeConv(2, 3)) < 1e-6
    sub_pixel.resize_()
    assert checkerboard(sub_pixel) < 1e-6


def test_sub_pixel_interleaves() -> None:
    layer, x = SubPixelConv(2, 3, 3, 2), image(2, 5)
    maps, y = layer.conv(x), layer(x)
    for m, i, j in [(0, 0, 0), (1, 1, 0), (2, 0, 1)]:
        torch.testing.assert_close(y[:, m, i::2, j::2], maps[:, 4 * m + 2 * i + j])


def test_resized_sub_pixel_is_a_nearest_resize() -> None:
    layer, x = SubPixelConv(2, 3), image(2, 5)
    layer.resize_()
    low = functional.conv2d(x, layer.conv.weight[::4], layer.conv.bias[::4], padding=1)
    torch.testing.assert_close(layer(x), functional.interpolate(low, scale_factor=2.0), **CLOSE)


def test_unpooling_puts_maxima_back() -> None:
    x = image(2, 6)
    y = PoolUnpool(nn.Identity())(x)
    peaks = functional.max_pool2d(x, 2).repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(y, torch.where(x == peaks, x, torch.zeros_like(x)))


def test_squeeze_and_excitation_by_hand() -> None:
    layer, x = SqueezeExcitation(4, 2), image(4)
    pooled = x.mean(dim=(2, 3))
    squeezed = functional.relu(
        functional.linear(pooled, layer.fc1.weight[..., 0, 0], layer.fc1.bias)
    )
    logits = functional.linear(squeezed, layer.fc2.weight[..., 0, 0], layer.fc2.bias)
    torch.testing.assert_close(layer(x), x * logits.sigmoid()[..., None, None], **CLOSE)


def test_selective_kernel_weighs_paths_to_one() -> None:
    layer, x = SelectiveKernel(4, 8, paths=3), image(4)
    # With the same constant map on every path, any weights that sum to one give that map.
    for path in layer.paths:
        path.register_forward_hook(lambda _module, _args, out: torch.ones_like(out) * 2)
    torch.testing.assert_close(layer(x), torch.full((2, 8, 10, 10), 2.0))


def silence(branch_end: nn.Module) -> None:
    for parameter in branch_end.parameters():
        nn.init.zeros_(parameter)


@pytest.mark.parametrize(
    ("block", "end"),
    [
        (BasicBlock(8, 8), "bn2"),
        (Bottleneck(8, 2), "bn3"),
        (InvertedResidual(8, 8, 1, 4), "conv.3"),
    ],
)
def test_with_a_silent_branch_the_input_passes(block: nn.Module, end: str) -> None:
    silence(block.get_submodule(end))
    x = image(8).relu()
    torch.testing.assert_close(block.eval()(x), x)


@pytest.mark.parametrize(
    ("block", "end"), [(PreactBasicBlock(8, 8), "conv2"), (PreactBottleneck(8, 2), "conv3")]
)
def test_version_two_passes_negative_values_too(block: nn.Module, end: str) -> None:
    silence(block.get_submodule(end))
    x = image(8)
    assert x.min() < 0
    torch.testing.assert_close(block.eval()(x), x)


def test_the_identity_path_carries_the_gradient() -> None:
    def gradient(shortcut: bool) -> float:
        x = image(8).relu().requires_grad_()
        y = x
        for _ in range(20):
            block = BasicBlock(8, 8).eval()
            nn.init.constant_(block.bn2.weight, 0.01)  # a branch that says little
            y = block(y) if shortcut else torch.relu(block.branch(y))
        y.sum().backward()
        assert x.grad is not None
        return float(x.grad.abs().mean())

    # Along identities the gradient arrives whole, about 1; a plain chain shrinks it 20 times over.
    assert gradient(shortcut=True) > 0.3
    assert gradient(shortcut=False) < 1e-20


def test_resnext_is_the_sum_of_its_paths() -> None:
    block = randomize_(ResNeXtBlock(64, 16, cardinality=4, path_width=4), shape=(64, 10, 10))
    assert isinstance(block, ResNeXtBlock)
    x = image(64)
    with torch.no_grad():
        y = block.relu(block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))))
        paths = zip(y.chunk(4, dim=1), block.conv3.weight.chunk(4, dim=1), strict=True)
        total = block.bn3(sum(functional.conv2d(part, weight) for part, weight in paths))
        torch.testing.assert_close(block.branch(x), total, **CLOSE)


def test_dense_keeps_what_residual_adds() -> None:
    layer, x = DenseLayer(4, 3).eval(), image(4)
    y = layer(x)
    torch.testing.assert_close(y[:, :4], x)
    assert y.shape[1] == 4 + 3


def test_ghosts_come_from_the_primary_maps() -> None:
    layer, x = randomize_(GhostModule(4, 6), shape=(4, 10, 10)), image(4)
    assert isinstance(layer, GhostModule)
    y = layer(x)
    torch.testing.assert_close(y[:, :3], layer.primary(x))
    torch.testing.assert_close(y[:, 3:], layer.cheap(y[:, :3]))


def test_network_in_network_slides_a_small_network() -> None:
    layer, x = MlpConv(2, (5, 4, 3), 3), image(2, 6)
    patches = functional.unfold(x, 3, padding=1).transpose(1, 2)
    y = patches
    for conv in (layer[0], layer[2], layer[4]):
        y = functional.relu(functional.linear(y, conv.weight.flatten(1), conv.bias))
    torch.testing.assert_close(layer(x), y.transpose(1, 2).view(2, 3, 6, 6), **CLOSE)


def test_the_pyramid_adds_from_the_coarsest_down() -> None:
    layer = FeaturePyramid((3, 4), 5)
    fine, coarse = image(3, 8), image(4, 4)
    out = layer((fine, coarse))
    top = layer.lateral[1](coarse)
    below = layer.lateral[0](fine) + top.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(out[1], layer.smooth[1](top))
    torch.testing.assert_close(out[0], layer.smooth[0](below))


def test_the_skip_of_a_unet_reaches_the_output() -> None:
    layer = randomize_skip()
    x, skip = image(8, 5), image(4, 10)
    y = layer(x, skip)
    assert y.shape == skip.shape
    assert not torch.allclose(y, layer(x, skip + 1))
    assert not torch.allclose(y, layer(x + 1, skip))


def randomize_skip() -> UNetSkip:
    layer = UNetSkip(4, TransposedConv(8, 4))
    randomize_(layer.convs, shape=(8, 10, 10))
    return layer.eval()


def test_aspp_sees_the_whole_map() -> None:
    layer = randomize_(ASPP(4, 8, (1, 2, 3)), shape=(4, 20, 20))
    x = image(4, 20).requires_grad_()
    layer(x)[0, :, 0, 0].sum().backward()
    assert x.grad is not None
    # The far corner is beyond every dilation; only the pooled branch reaches it.
    assert x.grad[0, :, -1, -1].abs().sum() > 0
