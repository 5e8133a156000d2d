"""ResNet for images of 32 pixels, the networks that showed what shortcuts do (He et al. 2015)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.card import Accuracy, Preprocessing
from edgeconv.models.layers.residual import BasicBlock
from edgeconv.models.registry import register

_FAMILY = "ResNet for CIFAR-10"
_PAPER = "He et al. 2015, arXiv:1512.03385, section 4.2"
# The mean of CIFAR-10's training images; the paper subtracts the mean image and does not scale.
_PIXELS = Preprocessing(mean=(0.4914, 0.4822, 0.4465), std=(1.0,) * 3)


class _Padded(nn.Module):
    """The paper's option A: every second pixel, and zeros for the channels that are new."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.extra))


class CifarResNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits: 6 n + 2 layers, stride 4, no projections."""

    def __init__(self, blocks: int, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        layers: list[nn.Module] = [BasicBlock(16, 16) for _ in range(blocks)]
        for width in (32, 64):
            first = BasicBlock(width // 2, width, 2)
            first.downsample = _Padded(width // 2)
            layers += [first, *(BasicBlock(width, width) for _ in range(blocks - 1))]
        self.blocks = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        return logits


@register(
    family=_FAMILY,
    input_shape=(3, 32, 32),
    parameters=853_018,
    macs=125_485_696,
    receptive_field=249,
    accuracy=Accuracy(93.03, "% top-1", "CIFAR-10", "paper"),
    preprocessing=_PIXELS,
    paper=_PAPER,
)
def cifar_resnet56(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 27 blocks, 56 weighted layers."""
    return CifarResNet(9, num_classes, in_channels, dropout)


@register(
    family=_FAMILY,
    input_shape=(3, 32, 32),
    parameters=1_727_962,
    macs=252_887_680,
    receptive_field=501,
    accuracy=Accuracy(93.57, "% top-1", "CIFAR-10", "paper"),
    preprocessing=_PIXELS,
    paper=_PAPER,
)
def cifar_resnet110(num_classes: int = 10, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 54 blocks, 110 weighted layers."""
    return CifarResNet(18, num_classes, in_channels, dropout)
