"""Residual blocks, second version: normalize and activate before each convolution.

Nothing stands on the shortcut, so signal and gradient pass from any block to any other unchanged.
He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv:1603.05027).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)


class PreactBasicBlock(nn.Module):
    """(N, C, H, W) to (N, W, H / stride, W / stride) with W = ``width``.

    Parameters of the convolutions: 9 C W + 9 W², and C W of a projection; MACs: the same for each
    output position.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(x))
        # A projection reads the activated input; the identity reads the input itself.
        shortcut = x if self.downsample is None else self.downsample(y)
        y = self.conv1(y)
        y = self.conv2(functional.relu(self.bn2(y)))
        out: Tensor = y + shortcut
        return out


class PreactBottleneck(nn.Module):
    """(N, C, H, W) to (N, 4 W, H / stride, W / stride) with W = ``width``.

    Parameters of the convolutions: C W + 9 W² + 4 W², and 4 C W of a projection; MACs: C W for
    each input position, the rest for each output position.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(x))
        shortcut = x if self.downsample is None else self.downsample(y)
        y = self.conv1(y)
        y = self.conv2(functional.relu(self.bn2(y)))
        y = self.conv3(functional.relu(self.bn3(y)))
        out: Tensor = y + shortcut
        return out
