"""ResNets with another block: grouped paths, channel gates, selective kernels."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from edgeconv.models.card import imagenet
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.residual import Bottleneck, ResidualBlock, projection
from edgeconv.models.layers.resnext import ResNeXtBlock
from edgeconv.models.layers.selective_kernel import SelectiveKernel
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.registry import register
from edgeconv.models.resnet import ResNet

_PATHS_32X4 = partial(ResNeXtBlock, cardinality=32, path_width=4)


class SqueezeBottleneck(Bottleneck):
    """A bottleneck whose output is gated channel by channel before the addition."""

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__(in_channels, width, stride)
        out_channels = width * self.expansion
        self.se = SqueezeExcitation(out_channels, out_channels // 16)

    def branch(self, x: Tensor) -> Tensor:
        """Return what the block adds to its shortcut, gated per channel."""
        y: Tensor = self.se(super().branch(x))
        return y


class SelectiveBlock(ResidualBlock):
    """(N, C, H, W) to (N, W, H / stride, W / stride): a basic block with a selective kernel.

    The block begins with the selective kernel, each path of which reads half of the channels. Li et
    al. 2019, "Selective Kernel Networks" (arXiv:1903.06586).
    """

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = SelectiveKernel(in_channels, width, stride, split_input=True)
        self.conv2 = ConvNormAct(width, width, activation=None)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, width, stride)

    def branch(self, x: Tensor) -> Tensor:
        """Return what the block adds to its shortcut."""
        y: Tensor = self.conv2(self.conv1(x))
        return y


@register(
    family="ResNeXt",
    parameters=25_028_904,
    macs=4_230_479_872,
    receptive_field=427,
    accuracy=imagenet(77.618, "torchvision IMAGENET1K_V1"),
    paper="Xie et al. 2016, arXiv:1611.05431",
)
def resnext50_32x4d(
    num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0
) -> nn.Module:
    """Keys are torchvision's."""
    return ResNet(_PATHS_32X4, (3, 4, 6, 3), 4, num_classes, in_channels, dropout)


@register(
    family="SE-ResNet",
    parameters=28_088_024,
    macs=4_091_699_200,
    receptive_field=427,
    accuracy=imagenet(76.71, "paper"),
    paper="Hu et al. 2017, arXiv:1709.01507",
)
def se_resnet50(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build ResNet-50 with a squeeze-and-excitation gate in every block."""
    return ResNet(SqueezeBottleneck, (3, 4, 6, 3), 4, num_classes, in_channels, dropout)


@register(
    family="SK-ResNet",
    parameters=11_958_056,
    macs=1_814_337_536,
    receptive_field=619,
    paper="Li et al. 2019, arXiv:1903.06586",
)
def sk_resnet18(num_classes: int = 1000, in_channels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Build ResNet-18 with a selective kernel in every block."""
    return ResNet(SelectiveBlock, (2, 2, 2, 2), 1, num_classes, in_channels, dropout)
