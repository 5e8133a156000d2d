"""ResNet: deep networks that learn residuals (He et al. 2015). Keys are torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.residual import BasicBlock, Bottleneck
from edgeconv.models.registry import register

# (in_channels, width, stride) to a block; the block's class says how it widens its output.
Block = Callable[[int, int, int], nn.Module]

_PAPER = "He et al. 2015, arXiv:1512.03385"


class Trunk(nn.Module):
    """A ResNet without its head: four stages, stride 32."""

    def __init__(
        self, block: Block, depths: tuple[int, int, int, int], expansion: int, in_channels: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(block, expansion, depths)

    def features(self, x: Tensor) -> Tensor:
        """Return (N, 512 ``expansion``, H / 32, W / 32) from (N, C, H, W)."""
        y = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(y))))
        return maps


class ResNet(Trunk):
    """(N, C, H, W) images to (N, num_classes) logits."""

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        expansion: int,
        num_classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__(block, depths, expansion, in_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * expansion, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.dropout(self.features(x).mean(dim=(2, 3))))
        return logits


def stem(in_channels: int) -> nn.Sequential:
    """Return what stands before the first stage: (N, C, H, W) to (N, 64, H / 4, W / 4)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def stages(
    block: Block, expansion: int, depths: tuple[int, int, int, int]
) -> Iterator[nn.Sequential]:
    """Yield the four stages: (N, 64, H, W) to (N, 512 ``expansion``, H / 8, W / 8).

    A stage has ``depths`` blocks of the same width; the first of them halves the resolution, except
    in the first stage.
    """
    channels = 64
    for width, depth in zip((64, 128, 256, 512), depths, strict=True):
        first = block(channels, width, 1 if width == 64 else 2)
        channels = width * expansion
        yield nn.Sequential(first, *(block(channels, width, 1) for _ in range(depth - 1)))


def basic(
    depths: tuple[int, int, int, int], num_classes: int, in_channels: int, dropout: float
) -> ResNet:
    """Build a ResNet of basic blocks; ``depths`` are the blocks of its stages."""
    return ResNet(BasicBlock, depths, BasicBlock.expansion, num_classes, in_channels, dropout)


def bottleneck(
    depths: tuple[int, int, int, int], num_classes: int, in_channels: int, dropout: float
) -> ResNet:
    """Build a ResNet of bottlenecks; ``depths`` are the blocks of its stages."""
    return ResNet(Bottleneck, depths, Bottleneck.expansion, num_classes, in_channels, dropout)


@register(
    family="ResNet",
    parameters=11_689_512,
    macs=1_814_073_344,
    receptive_field=435,
    accuracy=imagenet(69.758, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def resnet18(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 2, 2, 2 and 2 basic blocks, 18 weighted layers."""
    return basic((2, 2, 2, 2), num_classes, in_channels, dropout)


@register(
    family="ResNet",
    parameters=21_797_672,
    macs=3_663_761_408,
    receptive_field=899,
    accuracy=imagenet(73.314, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def resnet34(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 3, 4, 6 and 3 basic blocks, 34 weighted layers."""
    return basic((3, 4, 6, 3), num_classes, in_channels, dropout)


@register(
    family="ResNet",
    parameters=25_557_032,
    macs=4_089_184_256,
    receptive_field=427,
    accuracy=imagenet(76.13, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def resnet50(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 3, 4, 6 and 3 bottlenecks, 50 weighted layers."""
    return bottleneck((3, 4, 6, 3), num_classes, in_channels, dropout)


@register(
    family="ResNet",
    parameters=44_549_160,
    macs=7_801_405_440,
    receptive_field=971,
    accuracy=imagenet(77.374, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def resnet101(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 3, 4, 23 and 3 bottlenecks, 101 weighted layers."""
    return bottleneck((3, 4, 23, 3), num_classes, in_channels, dropout)


@register(
    family="ResNet",
    parameters=60_192_808,
    macs=11_513_626_624,
    receptive_field=1451,
    accuracy=imagenet(78.312, "torchvision IMAGENET1K_V1"),
    paper=_PAPER,
)
def resnet152(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build 3, 8, 36 and 3 bottlenecks, 152 weighted layers."""
    return bottleneck((3, 8, 36, 3), num_classes, in_channels, dropout)
