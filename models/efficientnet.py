"""EfficientNet: one network scaled in depth, width and resolution together (Tan and Le 2019).

The keys of efficientnet_b0 are torchvision's. The Lite networks leave out what small processors
and 8-bit integers dislike: no squeeze-and-excitation, ReLU6 for swish, and a stem and head of
fixed width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, imagenet
from edgeconv.models.layers.activation import relu6, silu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.mbconv import MBConv
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.registry import register

_PAPER = "Tan and Le 2019, arXiv:1905.11946"
_LITE_SOURCE = "TensorFlow's release"
_lite_norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


@dataclass(frozen=True)
class _Stage:
    """One line of the paper's table 1."""

    expansion: int
    kernel_size: int
    stride: int
    channels: int
    repeats: int


_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


class EfficientNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        width_mult: float,
        depth_mult: float,
        dropout: float,
        *,
        lite: bool = False,
    ) -> None:
        super().__init__()
        activation = relu6 if lite else silu
        norm = _lite_norm if lite else nn.BatchNorm2d
        channels = 32 if lite else make_divisible(32 * width_mult)
        head = 1280 if lite else make_divisible(1280 * width_mult)
        layers: list[nn.Module] = [
            ConvNormAct(in_channels, channels, stride=2, norm=norm, activation=activation)
        ]
        for stage in _STAGES:
            out_channels = make_divisible(stage.channels * width_mult)
            fixed = lite and stage in (_STAGES[0], _STAGES[-1])
            repeats = stage.repeats if fixed else math.ceil(stage.repeats * depth_mult)
            blocks = []
            for index in range(repeats):
                squeezed = max(1, channels // 4)
                blocks.append(
                    MBConv(
                        channels,
                        out_channels,
                        channels * stage.expansion,
                        stage.kernel_size,
                        stage.stride if index == 0 else 1,
                        activation=activation,
                        norm=norm,
                        squeeze=None if lite else partial(_squeeze, squeezed=squeezed),
                    )
                )
                channels = out_channels
            layers.append(nn.Sequential(*blocks))
        layers.append(ConvNormAct(channels, head, 1, norm=norm, activation=activation))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(head, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


def _squeeze(hidden: int, squeezed: int) -> nn.Module:
    # Unlike MobileNetV3, the squeeze is a share of the block's input, not of its hidden channels.
    return SqueezeExcitation(hidden, squeezed, activation=silu)


@register(
    family="EfficientNet",
    parameters=5_288_548,
    macs=385_814_752,
    receptive_field=851,
    accuracy=imagenet(77.692, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def efficientnet_b0(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build the baseline of the family, found by search; keys are torchvision's."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.0, dropout)


def _lite_preprocessing(size: int) -> Preprocessing:
    return Preprocessing(mean=(127 / 255,) * 3, std=(128 / 255,) * 3, resize=size + 32)


@register(
    family="EfficientNet-Lite",
    parameters=4_652_008,
    macs=385_187_552,
    receptive_field=851,
    accuracy=imagenet(75.1, _LITE_SOURCE),
    preprocessing=_lite_preprocessing(224),
    paper=_PAPER,
)
def efficientnet_lite0(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build B0 for integer hardware: ReLU6 instead of SiLU, no squeeze-and-excitation."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.0, dropout, lite=True)


@register(
    family="EfficientNet-Lite",
    input_shape=(3, 240, 240),
    parameters=5_416_680,
    macs=600_185_232,
    receptive_field=1115,
    accuracy=imagenet(76.7, _LITE_SOURCE),
    preprocessing=_lite_preprocessing(240),
    paper=_PAPER,
)
def efficientnet_lite1(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Scale Lite0 to 1.0 times the width and 1.1 times the depth."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.1, dropout, lite=True)


@register(
    family="EfficientNet-Lite",
    input_shape=(3, 260, 260),
    parameters=6_092_072,
    macs=859_736_272,
    receptive_field=1115,
    accuracy=imagenet(77.6, _LITE_SOURCE),
    preprocessing=_lite_preprocessing(260),
    paper=_PAPER,
)
def efficientnet_lite2(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.1, dropout: float = 0.3
) -> nn.Module:
    """Scale Lite0 to 1.1 times the width and 1.2 times the depth."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.2, dropout, lite=True)


@register(
    family="EfficientNet-Lite",
    input_shape=(3, 280, 280),
    parameters=8_197_096,
    macs=1_383_321_872,
    receptive_field=1339,
    accuracy=imagenet(79.8, _LITE_SOURCE),
    preprocessing=_lite_preprocessing(280),
    paper=_PAPER,
)
def efficientnet_lite3(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.2, dropout: float = 0.3
) -> nn.Module:
    """Scale Lite0 to 1.2 times the width and 1.4 times the depth."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.4, dropout, lite=True)


@register(
    family="EfficientNet-Lite",
    input_shape=(3, 300, 300),
    parameters=13_006_568,
    macs=2_553_034_336,
    receptive_field=1731,
    accuracy=imagenet(81.5, _LITE_SOURCE),
    preprocessing=_lite_preprocessing(300),
    paper=_PAPER,
)
def efficientnet_lite4(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.4, dropout: float = 0.3
) -> nn.Module:
    """Scale Lite0 to 1.4 times the width and 1.8 times the depth."""
    return EfficientNet(num_classes, in_channels, width_mult, 1.8, dropout, lite=True)
