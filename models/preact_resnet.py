"""ResNet, second version: pre-activation residual blocks (He et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.preactivation import PreactBasicBlock, PreactBottleneck
from edgeconv.models.registry import register
from edgeconv.models.resnet import Block, stages

_PAPER = "He et al. 2016, arXiv:1603.05027"


class PreactResNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes) logits; four stages, stride 32.

    The stem is a bare convolution and a pool; one last normalization closes the chain of sums.
    """

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        expansion: int,
        num_classes: int,
        in_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages(block, expansion, depths)
        self.norm = nn.BatchNorm2d(512 * expansion)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * expansion, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.maxpool(self.conv1(x))
        y = self.layer4(self.layer3(self.layer2(self.layer1(y))))
        y = functional.relu(self.norm(y))
        logits: Tensor = self.fc(self.dropout(y.mean(dim=(2, 3))))
        return logits


@register(
    family="ResNet v2",
    parameters=11_687_720,
    macs=1_814_073_344,
    receptive_field=435,
    paper=_PAPER,
)
def preact_resnet18(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> nn.Module:
    """Build 2, 2, 2 and 2 basic blocks, 18 weighted layers."""
    block = PreactBasicBlock
    return PreactResNet(block, (2, 2, 2, 2), block.expansion, num_classes, in_channels, dropout)


@register(
    family="ResNet v2",
    parameters=25_549_352,
    macs=4_089_184_256,
    receptive_field=427,
    paper=_PAPER,
)
def preact_resnet50(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> nn.Module:
    """Build 3, 4, 6 and 3 bottlenecks, 50 weighted layers."""
    block = PreactBottleneck
    return PreactResNet(block, (3, 4, 6, 3), block.expansion, num_classes, in_channels, dropout)
