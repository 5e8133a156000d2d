"""Network in network: 1x1 convolutions, and a global average pool for a classifier (Lin 2013)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Accuracy, Preprocessing
from edgeconv.models.layers.network_in_network import MlpConv
from edgeconv.models.registry import register


class NetworkInNetwork(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; stride 4."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            MlpConv(in_channels, (192, 160, 96), 5),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Dropout(dropout),
            MlpConv(96, (192, 192, 192), 5),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Dropout(dropout),
            MlpConv(192, (192, 192, num_classes), 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.features(x)
        return y.mean(dim=(2, 3))


@register(
    family="NIN",
    input_shape=(3, 32, 32),
    parameters=966_986,
    macs=222_486_528,
    receptive_field=27,
    accuracy=Accuracy(91.19, "% top-1", "CIFAR-10", "paper"),
    # The usual statistics of CIFAR-10; the paper whitens the images.
    preprocessing=Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)),
    paper="Lin et al. 2013, arXiv:1312.4400",
)
def nin(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.5) -> nn.Module:
    """Build the paper's network for images of 32 x 32 pixels."""
    return NetworkInNetwork(num_classes, in_channels, dropout)
