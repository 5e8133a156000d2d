"""MobileNetV4: universal inverted bottlenecks, fast on any processor (Qin et al. 2024)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.universal_bottleneck import UniversalBottleneck
from edgeconv.models.registry import register

# Standard convolutions of the first stages: output channels, kernel size, stride.
_STEM = ((32, 3, 2), (32, 3, 2), (32, 1, 1), (96, 3, 2), (64, 1, 1))

# Universal bottlenecks: output channels, start kernel, middle kernel, stride, expansion.
_BLOCKS = (
    (96, 5, 5, 2, 3),
    (96, 0, 3, 1, 2),
    (96, 0, 3, 1, 2),
    (96, 0, 3, 1, 2),
    (96, 0, 3, 1, 2),
    (96, 3, 0, 1, 4),
    (128, 3, 3, 2, 6),
    (128, 5, 5, 1, 4),
    (128, 0, 5, 1, 4),
    (128, 0, 5, 1, 3),
    (128, 0, 3, 1, 4),
    (128, 0, 3, 1, 4),
)


class MobileNetV4(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(
        self, num_classes: int, in_channels: int, width_mult: float, dropout: float
    ) -> None:
        super().__init__()
        channels = in_channels
        layers: list[nn.Module] = []
        for width, kernel_size, stride in _STEM:
            out_channels = make_divisible(width * width_mult)
            layers.append(ConvNormAct(channels, out_channels, kernel_size, stride))
            channels = out_channels
        for width, start, middle, stride, expansion in _BLOCKS:
            out_channels = make_divisible(width * width_mult)
            layers.append(
                UniversalBottleneck(
                    channels, out_channels, expansion, start=start, middle=middle, stride=stride
                )
            )
            channels = out_channels
        last = make_divisible(960 * width_mult)
        layers.append(ConvNormAct(channels, last, 1))
        self.features = nn.Sequential(*layers)
        # A linear layer with batch normalization, after the pool where it costs one position.
        self.head = nn.Sequential(nn.Linear(last, 1280, bias=False), nn.BatchNorm1d(1280), relu())
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.head(y))
        return logits


@register(
    family="MobileNetV4",
    parameters=3_774_024,
    macs=186_005_568,
    receptive_field=943,
    accuracy=imagenet(73.8, "paper"),
    paper="Qin et al. 2024, arXiv:2404.10518",
)
def mobilenet_v4_conv_small(
    num_classes: int = 1000, in_channels: int = 3, width_mult: float = 1.0, dropout: float = 0.2
) -> nn.Module:
    """Build the small convolutional network of the paper."""
    return MobileNetV4(num_classes, in_channels, width_mult, dropout)
