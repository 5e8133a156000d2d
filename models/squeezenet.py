"""SqueezeNet 1.1: AlexNet's accuracy with a fiftieth of its parameters (Iandola et al. 2016).

Keys are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.fire import Fire
from edgeconv.models.registry import register


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class SqueezeNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 16."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 3, stride=2),
            relu(),
            _pool(),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            _pool(),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            _pool(),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(512, num_classes, 1), relu())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.classifier(self.features(x))
        return y.mean(dim=(2, 3))


@register(
    family="SqueezeNet",
    parameters=1_235_496,
    macs=349_151_936,
    receptive_field=207,
    accuracy=imagenet(58.178, "torchvision IMAGENET1K_V1"),
    paper="Iandola et al. 2016, arXiv:1602.07360",
)
def squeezenet1_1(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Build version 1.1, which pools earlier than the paper's network and costs less."""
    return SqueezeNet(num_classes, in_channels, dropout)
