"""The networks of the MLPerf Tiny benchmark (Banbury et al. 2021)."""

from __future__ import annotations

from edgeconv.models.card import Accuracy, Preprocessing
from edgeconv.models.registry import register
from torch import Tensor, nn

_PAPER = "Banbury et al. 2021, arXiv:2106.07597"


class _TinyBlock(nn.Module):
    """A residual block as the benchmark's reference has it: biased convolutions, and a projection
    without normalization."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = (
            nn.Identity() if stride == 1 else nn.Conv2d(in_channels, out_channels, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu(y + self.shortcut(x))
        return out


class ResNet8(nn.Module):
    """(N, C, 32, 32) images to (N, num_classes) logits; three blocks, stride 4.

    The reference pads stride-2 convolutions on the far side only (TensorFlow's SAME); here the
    padding is symmetric.
    """

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(
            _TinyBlock(16, 16, 1), _TinyBlock(16, 32, 2), _TinyBlock(32, 64, 2)
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        return logits


@register(
    family="MLPerf Tiny",
    input_shape=(3, 32, 32),
    parameters=78_186,
    macs=12_501_632,
    receptive_field=39,
    accuracy=Accuracy(86.5, "% top-1", "CIFAR-10", "benchmark reference"),
    # The reference feeds bytes as they are; (x / 255) / (1 / 255) says so.
    preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1 / 255,) * 3),
    paper=_PAPER,
)
def resnet8(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Image classification."""
    return ResNet8(num_classes, in_channels, dropout)
