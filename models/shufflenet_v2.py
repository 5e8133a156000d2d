"""ShuffleNetV2: half of the channels pass by, then both halves are shuffled (Ma et al. 2018).

Keys are torchvision's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.channel_shuffle import channel_shuffle
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.registry import register

_REPEATS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """(N, C, H, W) to the same shape: split, convolve one half, concatenate, shuffle.

    Equal channel counts everywhere and no addition: the paper's guidelines for memory access.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch2 = _branch(channels // 2, channels // 2, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        passed, convolved = x.chunk(2, dim=1)
        return channel_shuffle(torch.cat((passed, self.branch2(convolved)), dim=1), 2)


class DownsamplingUnit(nn.Module):
    """(N, C, H, W) to (N, M, H / 2, W / 2): both branches convolve all of the input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.branch1 = nn.Sequential(
            *_depthwise(in_channels, stride=2), *_pointwise(in_channels, half)
        )
        self.branch2 = _branch(in_channels, half, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return channel_shuffle(torch.cat((self.branch1(x), self.branch2(x)), dim=1), 2)


def _branch(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_pointwise(in_channels, out_channels),
        *_depthwise(out_channels, stride),
        *_pointwise(out_channels, out_channels),
    )


def _pointwise(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return conv, nn.BatchNorm2d(out_channels), relu()


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return conv, nn.BatchNorm2d(channels)


class ShuffleNetV2(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self, widths: tuple[int, ...], num_classes: int, in_channels: int, dropout: float
    ) -> None:
        super().__init__()
        stem, *stages, last = widths
        self.conv1 = ConvNormAct(in_channels, stem, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = (stem, *stages)
        self.stage2, self.stage3, self.stage4 = (
            _stage(channels[index], channels[index + 1], repeats)
            for index, repeats in enumerate(_REPEATS)
        )
        self.conv5 = ConvNormAct(stages[-1], last, 1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.maxpool(self.conv1(x))
        y = self.conv5(self.stage4(self.stage3(self.stage2(y))))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        return logits


def _stage(in_channels: int, out_channels: int, repeats: int) -> nn.Sequential:
    rest = (ShuffleUnit(out_channels) for _ in range(repeats - 1))
    return nn.Sequential(DownsamplingUnit(in_channels, out_channels), *rest)


@register(
    family="ShuffleNetV2",
    parameters=2_278_604,
    macs=144_907_992,
    receptive_field=527,
    accuracy=imagenet(69.362, "torchvision IMAGENET1K_V1"),
    paper="Ma et al. 2018, arXiv:1807.11164",
)
def shufflenet_v2_x1_0(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> nn.Module:
    """Build the network of width 1; keys are torchvision's."""
    return ShuffleNetV2((24, 116, 232, 464, 1024), num_classes, in_channels, dropout)
