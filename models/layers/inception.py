"""Inception block: kernels of several sizes side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicConv(nn.Module):
    """(N, C, H, W) to (N, M, H', W'): convolution, batch normalization, ReLU.

    The names of the parts are those of the released network. Parameters: k² C M, and 2 M of the
    normalization; MACs: k² C M for each output position.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class Inception(nn.Module):
    """(N, C, H, W) to (N, A + B + D + E, H, W), the concatenation of four branches.

    1x1 to A; 1x1 to ``b_reduced``, 3x3 to B; 1x1 to ``d_reduced``, 3x3 to D; pool, 1x1 to E.
    Parameters of the convolutions: C (A + b + d + E) + 9 (b B + d D); MACs: the same for each
    position. The paper's third branch has a 5x5 kernel; 3x3 is what was released and trained.
    Szegedy et al. 2014, "Going Deeper with Convolutions" (arXiv:1409.4842).
    """

    def __init__(
        self, in_channels: int, a: int, b_reduced: int, b: int, d_reduced: int, d: int, e: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv(in_channels, a, 1)
        self.branch2 = nn.Sequential(
            BasicConv(in_channels, b_reduced, 1), BasicConv(b_reduced, b, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            BasicConv(in_channels, d_reduced, 1), BasicConv(d_reduced, d, 3, padding=1)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), BasicConv(in_channels, e, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x))
        return torch.cat(branches, dim=1)
