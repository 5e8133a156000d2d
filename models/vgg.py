"""VGG: nothing but 3x3 convolutions, many of them (Simonyan and Zisserman 2014).

Keys are torchvision's.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.activation import relu
from edgeconv.models.registry import register

# Output channels of the convolutions, stage by stage; a pool ends each stage.
_VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))


class VGG(nn.Module):
    """(N, C, S, S) images with S = ``input_size`` to (N, num_classes) logits; stride 32.

    The first linear layer reads every position of the last map, so its size depends on S.
    """

    def __init__(
        self,
        stages: tuple[tuple[int, ...], ...],
        num_classes: int,
        in_channels: int,
        input_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if input_size < 32:
            raise ValueError(f"input_size must be 32 or more, not {input_size}")
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in stages:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), relu()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        positions = (input_size // 32) ** 2
        self.classifier = nn.Sequential(
            nn.Linear(channels * positions, 4096),
            relu(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            relu(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


@register(
    family="VGG",
    parameters=132_863_336,
    macs=7_609_090_048,
    receptive_field=150,
    accuracy=imagenet(69.02, "torchvision IMAGENET1K_V1"),
    paper="Simonyan and Zisserman 2014, arXiv:1409.1556",
)
def vgg11(
    num_classes: int = 1000, in_channels: int = 3, input_size: int = 224, dropout: float = 0.5
) -> nn.Module:
    """Build configuration A of the paper, 11 weighted layers, without batch normalization."""
    return VGG(_VGG11, num_classes, in_channels, input_size, dropout)
