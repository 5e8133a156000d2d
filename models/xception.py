"""Xception: an Inception network taken to its end (Chollet 2016).

Every channel has a filter of its own.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.depthwise import Depthwise
from edgeconv.models.layers.pointwise import Pointwise
from edgeconv.models.registry import register


class SeparableConv(nn.Sequential):
    """(N, C, H, W) to (N, M, H, W): 3x3 depthwise, 1x1 pointwise, and only then normalization.

    Unlike MobileNet's, nothing stands between the two convolutions: the paper's figure 10 finds
    an activation there harmful.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = Depthwise(in_channels)
        self.pointwise = Pointwise(in_channels, out_channels)
        self.norm = nn.BatchNorm2d(out_channels)


class XceptionBlock(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)), with a shortcut.

    Separable convolutions, each after an activation, then a pool where ``stride`` is 2. ``widths``
    are the output channels of the separable convolutions.
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], stride: int, *, first_activation: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for index, width in enumerate(widths):
            if index > 0 or first_activation:
                # Not in place: the shortcut reads the same input.
                layers.append(nn.ReLU(inplace=index > 0))
            layers.append(SeparableConv(channels, width))
            channels = width
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x) + self.shortcut(x)
        return y


class Xception(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 32."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        stem = (
            nn.Conv2d(in_channels, 32, 3, stride=2, bias=False),
            nn.BatchNorm2d(32),
            relu(),
            nn.Conv2d(32, 64, 3, bias=False),
            nn.BatchNorm2d(64),
            relu(),
        )
        self.entry = nn.Sequential(
            *stem,
            XceptionBlock(64, (128, 128), 2, first_activation=False),
            XceptionBlock(128, (256, 256), 2, first_activation=True),
            XceptionBlock(256, (728, 728), 2, first_activation=True),
        )
        self.middle = nn.Sequential(
            *(XceptionBlock(728, (728, 728, 728), 1, first_activation=True) for _ in range(8))
        )
        self.exit = nn.Sequential(
            XceptionBlock(728, (728, 1024), 2, first_activation=True),
            SeparableConv(1024, 1536),
            relu(),
            SeparableConv(1536, 2048),
            relu(),
        )
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2048, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        y = self.exit(self.middle(self.entry(x)))
        logits: Tensor = self.classifier(y.mean(dim=(2, 3)))
        return logits


@register(
    family="Xception",
    input_shape=(3, 299, 299),
    parameters=22_855_952,
    macs=8_357_403_496,
    receptive_field=1083,
    accuracy=imagenet(79.0, "paper"),
    preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, resize=299),
    paper="Chollet 2016, arXiv:1610.02357",
)
def xception(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Build the paper's network, which reads images of 299 x 299 pixels."""
    return Xception(num_classes, in_channels, dropout)
