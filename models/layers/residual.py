"""Residual blocks, first version: convolve, normalize, add the input, activate.

He et al. 2015, "Deep Residual Learning" (arXiv:1512.03385).
"""

from __future__ import annotations

from torch import Tensor, nn


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return the shortcut of a block: (N, C, H, W) to (N, M, H / stride, W / stride).

    It is a strided 1x1 convolution, C M parameters; None where the identity serves.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class ResidualBlock(nn.Module):
    """Adds a branch to a shortcut: relu(branch(x) + x), or relu(branch(x) + projection of x)."""

    relu: nn.Module
    downsample: nn.Module | None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.branch(x) + shortcut)
        return out

    def branch(self, x: Tensor) -> Tensor:
        """Return what the block adds to its shortcut."""
        raise NotImplementedError


class BasicBlock(ResidualBlock):
    """(N, C, H, W) to (N, W, H / stride, W / stride) with W = ``width``: two 3x3 convolutions.

    Parameters of the convolutions: 9 C W + 9 W², and C W of a projection; MACs: the same for each
    output position.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, width, stride)

    def branch(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.bn2(self.conv2(y))
        return out


class Bottleneck(ResidualBlock):
    """(N, C, H, W) to (N, 4 W, H / stride, W / stride) with W = ``width``.

    A 1x1 convolution narrows, a 3x3 one follows, and a 1x1 one widens. Parameters of the
    convolutions: C V + 9 V² / groups + 4 V W with V the inner width, and 4 C W of a projection;
    MACs: C V for each input position, the rest for each output position. V = W for ResNet; ResNeXt
    (Xie et al. 2016, arXiv:1611.05431) splits a wider V over ``groups`` paths. The stride sits in
    the 3x3 convolution, as in torchvision ("ResNet v1.5"), and not in the first 1x1 as in the
    paper.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        groups: int = 1,
        base_width: int = 64,
    ) -> None:
        super().__init__()
        inner = width * base_width // 64 * groups
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels, stride)

    def branch(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.bn3(self.conv3(y))
        return out
