"""Dense block: every layer reads the maps of all layers before it, side by side.

A residual block adds its output to its input and keeps C channels; a dense layer concatenates, and
the channels grow. Huang et al. 2016, "Densely Connected Convolutional Networks" (arXiv:1608.06993).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn


class DenseLayer(nn.Sequential):
    """(N, C, H, W) to (N, C + growth, H, W): the input, and ``growth`` = g maps more.

    A 1x1 convolution to 4 g channels, then a 3x3 one to g. Parameters of the convolutions:
    4 C g + 36 g²; MACs: the same for each position.
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: int = 4) -> None:
        inner = bottleneck * growth
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm2d(in_channels),
                # Not in place: later layers read the same input.
                relu1=nn.ReLU(),
                conv1=nn.Conv2d(in_channels, inner, 1, bias=False),
                norm2=nn.BatchNorm2d(inner),
                relu2=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(inner, growth, 3, padding=1, bias=False),
            )
        )

    def forward(self, input: Tensor) -> Tensor:
        y = input
        for layer in self:
            y = layer(y)
        return torch.cat((input, y), dim=1)


class DenseBlock(nn.Sequential):
    """(N, C, H, W) to (N, C + d g, H, W): d = ``depth`` dense layers one after another.

    Parameters of the convolutions: d (4 C g + 36 g²) + 2 d (d - 1) g², for the channels that the
    later layers read in addition; MACs: the same for each position.
    """

    def __init__(self, in_channels: int, growth: int, depth: int) -> None:
        super().__init__(
            OrderedDict(
                (f"denselayer{index + 1}", DenseLayer(in_channels + index * growth, growth))
                for index in range(depth)
            )
        )


class Transition(nn.Sequential):
    """(N, C, H, W) to (N, C / 2, H / 2, W / 2) between dense blocks.

    Parameters of the 1x1 convolution: C²/2; MACs: the same for each input position, before the
    pool.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(in_channels),
                relu=nn.ReLU(inplace=True),
                conv=nn.Conv2d(in_channels, in_channels // 2, 1, bias=False),
                pool=nn.AvgPool2d(2),
            )
        )
