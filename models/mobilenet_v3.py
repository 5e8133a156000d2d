"""MobileNetV3: searched bottlenecks, channel gates, hard swish (Howard et al. 2019).

Keys are torchvision's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import hard_swish, relu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.mbconv import MBConv
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.registry import register

_PAPER = "Howard et al. 2019, arXiv:1905.02244"
_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


@dataclass(frozen=True)
class Row:
    """One line of the paper's tables 1 and 2."""

    kernel_size: int
    hidden: int
    out_channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)

SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)


def features(
    rows: tuple[Row, ...], in_channels: int, width_mult: float, *, output_stride: int = 32
) -> nn.Sequential:
    """Everything before the pool. Strides beyond ``output_stride`` become dilations."""
    channels = make_divisible(16 * width_mult)
    layers: list[nn.Module] = [
        ConvNormAct(in_channels, channels, stride=2, norm=_norm, activation=hard_swish)
    ]
    reached, dilation = 2, 1
    for row in rows:
        stride = row.stride
        if reached * stride > output_stride:
            stride, dilation = 1, dilation * stride
        reached *= stride
        out_channels = make_divisible(row.out_channels * width_mult)
        layers.append(
            MBConv(
                channels,
                out_channels,
                make_divisible(row.hidden * width_mult),
                row.kernel_size,
                stride,
                activation=hard_swish if row.hard_swish else relu,
                norm=_norm,
                squeeze=_squeeze if row.squeeze else None,
                dilation=dilation,
            )
        )
        channels = out_channels
    layers.append(ConvNormAct(channels, 6 * channels, 1, norm=_norm, activation=hard_swish))
    return nn.Sequential(*layers)


def _squeeze(hidden: int) -> nn.Module:
    return SqueezeExcitation(hidden, make_divisible(hidden // 4), gate=nn.Hardsigmoid)


class MobileNetV3(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self,
        rows: tuple[Row, ...],
        last: int,
        num_classes: int,
        in_channels: int,
        width_mult: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.features = features(rows, in_channels, width_mult)
        pooled = 6 * make_divisible(rows[-1].out_channels * width_mult)
        last = make_divisible(last * width_mult)
        # The wide layer comes after the pool, where it costs one position instead of 49.
        self.classifier = nn.Sequential(
            nn.Linear(pooled, last), hard_swish(), nn.Dropout(dropout), nn.Linear(last, num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@register(
    family="MobileNetV3",
    parameters=2_542_856,
    macs=56_510_400,
    receptive_field=639,
    accuracy=imagenet(67.668, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def mobilenet_v3_small(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build the small network of the paper (table 2)."""
    return MobileNetV3(SMALL, 1024, num_classes, in_channels, width_mult, dropout)


@register(
    family="MobileNetV3",
    parameters=5_483_032,
    macs=216_589_760,
    receptive_field=595,
    accuracy=imagenet(74.042, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def mobilenet_v3_large(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build the large network of the paper (table 1)."""
    return MobileNetV3(LARGE, 1280, num_classes, in_channels, width_mult, dropout)
