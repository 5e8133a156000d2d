"""Every layer against the formula in its docstring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgeconv.models.cost import network_cost
from edgeconv.models.kernels import sobel
from edgeconv.models.layers.aspp import ASPP
from edgeconv.models.layers.auxiliary_head import AuxiliaryHead
from edgeconv.models.layers.causal import CausalConv1d
from edgeconv.models.layers.channel_shuffle import GroupedShuffle
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.dense import DenseBlock, DenseLayer, Transition
from edgeconv.models.layers.depthwise import Depthwise
from edgeconv.models.layers.depthwise_separable import DepthwiseSeparable
from edgeconv.models.layers.dilated import Dilated
from edgeconv.models.layers.early_exit import ExitHead
from edgeconv.models.layers.feature_pyramid import FeaturePyramid
from edgeconv.models.layers.fire import Fire
from edgeconv.models.layers.fixed import FixedConv, RandomFeatures, SeparableFixedConv
from edgeconv.models.layers.fractionally_strided import FractionallyStrided
from edgeconv.models.layers.frequency import FrequencyConv
from edgeconv.models.layers.gated_residual import GatedResidual
from edgeconv.models.layers.ghost import GhostModule
from edgeconv.models.layers.inception import Inception
from edgeconv.models.layers.inverted_residual import InvertedResidual
from edgeconv.models.layers.l2_pooling import L2NormPool
from edgeconv.models.layers.locally_connected import LocallyConnected
from edgeconv.models.layers.location_bias import LocationBias
from edgeconv.models.layers.mbconv import MBConv
from edgeconv.models.layers.network_in_network import MlpConv
from edgeconv.models.layers.pointwise import Pointwise
from edgeconv.models.layers.preactivation import PreactBasicBlock, PreactBottleneck
from edgeconv.models.layers.residual import BasicBlock, Bottleneck
from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.models.layers.resnext import ResNeXtBlock
from edgeconv.models.layers.selective_kernel import SelectiveKernel
from edgeconv.models.layers.spatial_group_enhance import SpatialGroupEnhance
from edgeconv.models.layers.spatially_separable import SpatiallySeparable
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.layers.sub_pixel import SubPixelConv
from edgeconv.models.layers.tiled import TiledConv
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.layers.unet import DoubleConv, UNetSkip
from edgeconv.models.layers.universal_bottleneck import UniversalBottleneck
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

C, M, H, W = 16, 32, 12, 8  # channels in and out, height, width
AREA = H * W
QUARTER = AREA // 4  # positions after a stride of 2


@dataclass(frozen=True)
class Case:
    """A layer, the weights of its convolutions and linear layers, its MACs, its output shape."""

    name: str
    build: Callable[[], nn.Module]
    weights: int
    macs: int
    output: tuple[int, ...]
    input: tuple[int, ...] = (C, H, W)


CASES = [
    Case("standard", lambda: ConvNormAct(C, M), 9 * C * M, 9 * C * M * AREA, (M, H, W)),
    Case(
        "standard, strided",
        lambda: ConvNormAct(C, M, 5, 2),
        25 * C * M,
        25 * C * M * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case("depthwise", lambda: Depthwise(C, multiplier=2), 9 * 2 * C, 18 * C * AREA, (2 * C, H, W)),
    Case("pointwise", lambda: Pointwise(C, M), C * M, C * M * AREA, (M, H, W)),
    Case(
        "depthwise separable",
        lambda: DepthwiseSeparable(C, M, stride=2),
        9 * C + C * M,
        (9 * C + C * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "spatially separable",
        lambda: SpatiallySeparable(C, M, 5),
        5 * C * M + 5 * M * M,
        (5 * C * M + 5 * M * M) * AREA,
        (M, H, W),
    ),
    Case(
        "spatially separable, depthwise",
        lambda: SpatiallySeparable(C, C, 3, groups=C),
        2 * 3 * C,
        6 * C * AREA,
        (C, H, W),
    ),
    Case(
        "grouped, shuffled",
        lambda: GroupedShuffle(C, M, groups=4),
        9 * C * M // 4,
        9 * C * M // 4 * AREA,
        (M, H, W),
    ),
    Case("dilated", lambda: Dilated(C, M, dilation=3), 9 * C * M, 9 * C * M * AREA, (M, H, W)),
    Case(
        "causal",
        lambda: CausalConv1d(C, M, 3, dilation=4),
        3 * C * M + M,
        3 * C * M * 50,
        (M, 50),
        (C, 50),
    ),
    Case(
        "transposed",
        lambda: TransposedConv(C, M, 4),
        16 * C * M + M,
        16 * C * M * AREA,
        (M, 2 * H, 2 * W),
    ),
    Case(
        "resize, convolve",
        lambda: ResizeConv(C, M),
        9 * C * M + M,
        9 * C * M * 4 * AREA,
        (M, 2 * H, 2 * W),
    ),
    Case(
        "sub-pixel",
        lambda: SubPixelConv(C, M, 3, 3),
        9 * C * M * 9 + M * 9,
        9 * C * M * 9 * AREA,
        (M, 3 * H, 3 * W),
    ),
    Case(
        "squeeze-and-excitation",
        lambda: SqueezeExcitation(C, 4),
        2 * C * 4 + 4 + C,
        2 * C * 4,
        (C, H, W),
    ),
    Case(
        "selective kernel",
        lambda: SelectiveKernel(C, M),
        9 * C * M * 2 + M * 16 + 16 * M * 2,
        9 * C * M * 2 * AREA + M * 16 + 16 * M * 2,
        (M, H, W),
    ),
    Case(
        "selective kernel, split",
        lambda: SelectiveKernel(C, M, split_input=True),
        9 * C * M + M * 16 + 16 * M * 2,
        9 * C * M * AREA + M * 16 + 16 * M * 2,
        (M, H, W),
    ),
    Case(
        "basic block, identity", lambda: BasicBlock(C, C), 18 * C * C, 18 * C * C * AREA, (C, H, W)
    ),
    Case(
        "basic block, projection",
        lambda: BasicBlock(C, M, 2),
        9 * C * M + 9 * M * M + C * M,
        (9 * C * M + 9 * M * M + C * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "bottleneck, projection",
        lambda: Bottleneck(C, 8),
        C * 8 + 9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8,
        (C * 8 + 9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8) * AREA,
        (4 * 8, H, W),
    ),
    Case(
        "ResNeXt",  # V = 32 paths of 4 x 16 / 64 = 1 channel
        lambda: ResNeXtBlock(64, 16),
        64 * 32 + 9 * 32 * 32 // 32 + 4 * 32 * 16,
        (64 * 32 + 9 * 32 * 32 // 32 + 4 * 32 * 16) * AREA,
        (64, H, W),
        (64, H, W),
    ),
    Case(
        "basic block v2, projection",
        lambda: PreactBasicBlock(C, M, 2),
        9 * C * M + 9 * M * M + C * M,
        (9 * C * M + 9 * M * M + C * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "bottleneck v2, identity",
        lambda: PreactBottleneck(C, C // 4),
        C * 4 + 9 * 4 * 4 + 4 * 4 * 4,
        (C * 4 + 9 * 4 * 4 + 4 * 4 * 4) * AREA,
        (C, H, W),
    ),
    Case(
        "inverted residual",
        lambda: InvertedResidual(C, M, 1, 6),
        6 * C * C + 9 * 6 * C + 6 * C * M,
        (6 * C * C + 9 * 6 * C + 6 * C * M) * AREA,
        (M, H, W),
    ),
    Case(
        "MBConv, gated",
        lambda: MBConv(
            C, M, 64, 5, 1, activation=nn.SiLU, squeeze=lambda e: SqueezeExcitation(e, 4)
        ),
        C * 64 + 25 * 64 + 64 * M + (2 * 64 * 4 + 4 + 64),
        (C * 64 + 25 * 64 + 64 * M) * AREA + 2 * 64 * 4,
        (M, H, W),
    ),
    Case(
        "universal bottleneck, extra depthwise",
        lambda: UniversalBottleneck(C, M, 4, start=5, middle=3),
        25 * C + C * 64 + 9 * 64 + 64 * M,
        (25 * C + C * 64 + 9 * 64 + 64 * M) * AREA,
        (M, H, W),
    ),
    Case(
        "universal bottleneck, feed-forward",
        lambda: UniversalBottleneck(C, M, 4),
        C * 64 + 64 * M,
        (C * 64 + 64 * M) * AREA,
        (M, H, W),
    ),
    Case(
        "ghost",
        lambda: GhostModule(C, M),
        C * M // 2 + 9 * M // 2,
        (C * M // 2 + 9 * M // 2) * AREA,
        (M, H, W),
    ),
    Case(
        "dense layer",
        lambda: DenseLayer(C, 8),
        4 * C * 8 + 36 * 8 * 8,
        (4 * C * 8 + 36 * 8 * 8) * AREA,
        (C + 8, H, W),
    ),
    Case(
        "dense block",
        lambda: DenseBlock(C, 8, 3),
        sum(4 * (C + i * 8) * 8 + 36 * 8 * 8 for i in range(3)),
        sum(4 * (C + i * 8) * 8 + 36 * 8 * 8 for i in range(3)) * AREA,
        (C + 3 * 8, H, W),
    ),
    Case(
        "transition", lambda: Transition(C), C * C // 2, C * C // 2 * AREA, (C // 2, H // 2, W // 2)
    ),
    Case(
        "Inception",
        lambda: Inception(C, 4, 6, 8, 2, 3, 5),
        C * (4 + 6 + 2 + 5) + 9 * (6 * 8 + 2 * 3),
        (C * (4 + 6 + 2 + 5) + 9 * (6 * 8 + 2 * 3)) * AREA,
        (4 + 8 + 3 + 5, H, W),
    ),
    Case(
        "fire",
        lambda: Fire(C, 4, 8),
        C * 4 + 4 + 4 * 8 + 8 + 9 * 4 * 8 + 8,
        (C * 4 + 4 * 8 + 9 * 4 * 8) * AREA,
        (2 * 8, H, W),
    ),
    Case(
        "network in network",
        lambda: MlpConv(C, (12, 10, M), 5),
        25 * C * 12 + 12 + 12 * 10 + 10 + 10 * M + M,
        (25 * C * 12 + 12 * 10 + 10 * M) * AREA,
        (M, H, W),
    ),
    Case(
        "U-Net's pair",
        lambda: DoubleConv(C, M),
        9 * C * M + 9 * M * M,
        (9 * C * M + 9 * M * M) * AREA,
        (M, H, W),
    ),
    Case(
        "ASPP",
        lambda: ASPP(C, 8, (2, 4, 6)),
        C * 8 + 9 * C * 8 * 3 + C * 8 + 5 * 8 * 8,
        (C * 8 + 9 * C * 8 * 3 + 5 * 8 * 8) * AREA + C * 8,
        (8, H, W),
    ),
    Case(
        "auxiliary head",
        lambda: AuxiliaryHead(C, 10),
        128 * C + 2048 * 1024 + 1024 + 1025 * 10,
        128 * C * 16 + 2048 * 1024 + 1024 * 10,
        (10,),
    ),
    # Strided: what runs before the stride has four times the positions.
    Case(
        "spatially separable, strided",
        lambda: SpatiallySeparable(C, M, 5, 2),
        5 * C * M + 5 * M * M,
        5 * C * M * 2 * QUARTER + 5 * M * M * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "bottleneck, strided",
        lambda: Bottleneck(C, 8, 2),
        C * 8 + 9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8,
        C * 8 * AREA + (9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8) * QUARTER,
        (4 * 8, H // 2, W // 2),
    ),
    Case(
        "bottleneck v2, strided",
        lambda: PreactBottleneck(C, 8, 2),
        C * 8 + 9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8,
        C * 8 * AREA + (9 * 8 * 8 + 4 * 8 * 8 + 4 * C * 8) * QUARTER,
        (4 * 8, H // 2, W // 2),
    ),
    Case(
        "inverted residual, strided",
        lambda: InvertedResidual(C, M, 2, 6),
        6 * C * C + 9 * 6 * C + 6 * C * M,
        6 * C * C * AREA + (9 * 6 * C + 6 * C * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "MBConv, strided",
        lambda: MBConv(C, M, 64, 5, 2, activation=nn.SiLU),
        C * 64 + 25 * 64 + 64 * M,
        C * 64 * AREA + (25 * 64 + 64 * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "universal bottleneck, strided",
        lambda: UniversalBottleneck(C, M, 4, start=5, middle=3, stride=2),
        25 * C + C * 64 + 9 * 64 + 64 * M,
        (25 * C + C * 64) * AREA + (9 * 64 + 64 * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "universal bottleneck, strided at the start",
        lambda: UniversalBottleneck(C, M, 4, start=5, stride=2),
        25 * C + C * 64 + 64 * M,
        (25 * C + C * 64 + 64 * M) * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "locally connected",
        lambda: LocallyConnected(C, M, (H, W)),
        AREA * (9 * C * M + M),
        9 * C * M * AREA,
        (M, H, W),
    ),
    Case(
        "locally connected, strided",
        lambda: LocallyConnected(C, M, (H, W), 5, 2),
        QUARTER * (25 * C * M + M),
        25 * C * M * QUARTER,
        (M, H // 2, W // 2),
    ),
    Case(
        "tiled",
        lambda: TiledConv(C, M, tiles=2),
        4 * (9 * C * M + M),
        9 * C * M * AREA,
        (M, H, W),
    ),
    Case(
        "tiled, sizes rounded up",
        lambda: TiledConv(C, M, tiles=3),
        9 * (9 * C * M + M),
        9 * C * M * 12 * 9,
        (M, H, W),
    ),
    Case("location bias", lambda: LocationBias(C, (H, W)), C * AREA, 0, (C, H, W)),
    Case("L2-norm pooling", L2NormPool, 0, 0, (C, H // 2, W // 2)),
    Case(
        "frequency domain",  # 12 + 4 and 8 + 4 pixels fill 16 x 16
        lambda: FrequencyConv(C, M, 5),
        25 * C * M + M,
        4 * C * M * 16 * 9 + (C + M) * 256 * 8,
        (M, H, W),
    ),
    Case("spatial group-wise enhance", lambda: SpatialGroupEnhance(C, 4), 8, C * AREA, (C, H, W)),
    Case(
        "fractionally strided, 1/2",
        lambda: FractionallyStrided(C, M, 4, up=2),
        16 * C * M + M,
        16 * C * M * 4 * AREA,
        (M, 2 * H, 2 * W),
    ),
    Case(
        "fractionally strided, 2/3",
        lambda: FractionallyStrided(C, M, 5, up=3, down=2),
        25 * C * M + M,
        25 * C * M * (3 * H // 2) * (3 * W // 2),
        (M, 3 * H // 2, 3 * W // 2),
    ),
    Case("fixed", lambda: FixedConv(C, sobel()), 0, 9 * C * 2 * AREA, (2 * C, H, W)),
    Case(
        "fixed, separable",
        lambda: SeparableFixedConv(C, sobel()),
        0,
        2 * 3 * C * 2 * AREA,
        (2 * C, H, W),
    ),
    Case("random features", lambda: RandomFeatures(C, M), 0, 9 * C * M * AREA, (M, H, W)),
    Case("exit head", lambda: ExitHead(C, 10), C * 10 + 10, C * 10, (10,)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_formulas(case: Case) -> None:
    layer = randomize_(case.build(), shape=case.input)
    norms = [m for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    assert parameters - sum(2 * norm.num_features for norm in norms) == case.weights
    assert network_cost(layer, case.input).macs == case.macs
    x = structured_input((2, *case.input), seed=1)
    y = layer(x)
    assert y.shape == (2, *case.output)
    assert torch.isfinite(y).all()
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_macs_are_those_of_pytorchs_counter(case: Case) -> None:
    layer = randomize_(case.build(), shape=case.input)
    rows = network_cost(layer, case.input).layers
    # PyTorch counts no Fourier transforms; test_textbook_layers counts theirs by hand.
    counted = sum(row.macs for row in rows if "fft" not in row.operator)
    with FlopCounterMode(display=False) as counter:
        layer(structured_input((1, *case.input)))
    assert counter.get_total_flops() == 2 * counted


def test_the_gated_residual_unit() -> None:
    unit = GatedResidual(C, M, 3, dilation=2)
    count = sum(parameter.numel() for parameter in unit.parameters())
    assert count == 2 * (3 * C * C + C) + C * C + C + C * M + M
    residual, skip = unit(torch.zeros(1, C, 20))
    assert (residual.shape, skip.shape) == ((1, C, 20), (1, M, 20))


def test_pyramids_and_skips() -> None:
    pyramid, skip = FeaturePyramid((C, M), 8), UNetSkip(C, TransposedConv(2 * C, C))
    weights = sum(p.numel() for p in pyramid.parameters())
    assert weights == C * 8 + 8 + M * 8 + 8 + 2 * (9 * 8 * 8 + 8)
    convs = [m for m in skip.convs.modules() if isinstance(m, nn.Conv2d)]
    assert sum(conv.weight.numel() for conv in convs) == 18 * C * C + 9 * C * C


def test_a_stride_without_a_spatial_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a depthwise convolution"):
        UniversalBottleneck(C, M, 4, stride=2)
