"""MobileNetV1: a chain of depthwise separable convolutions (Howard et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.depthwise_separable import DepthwiseSeparable
from edgeconv.models.registry import register

# Output channels and stride of each depthwise separable convolution.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


def features(in_channels: int, width_mult: float) -> nn.Sequential:
    """Everything before the pool: the stem and 13 depthwise separable convolutions."""
    channels = make_divisible(32 * width_mult)
    layers: list[nn.Module] = [ConvNormAct(in_channels, channels, stride=2)]
    for width, stride in _BLOCKS:
        out_channels = make_divisible(width * width_mult)
        layers.append(DepthwiseSeparable(channels, out_channels, stride=stride))
        channels = out_channels
    return nn.Sequential(*layers)


class MobileNetV1(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        self.features = features(in_channels, width_mult)
        channels = make_divisible(_BLOCKS[-1][0] * width_mult)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@register(
    family="MobileNetV1",
    parameters=4_231_976,
    macs=568_740_352,
    receptive_field=315,
    accuracy=imagenet(70.6, "paper"),
    paper="Howard et al. 2017, arXiv:1704.04861",
)
def mobilenet_v1(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.001
) -> nn.Module:
    """Build 13 depthwise separable convolutions behind a stem."""
    return MobileNetV1(num_classes, in_channels, width_mult, dropout)
