"""Ghost module: half of the maps from a convolution, the other half cheaply from the first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.layers.activation import Activation, relu
from edgeconv.models.layers.conv_norm_act import ConvNormAct


class GhostModule(nn.Module):
    """(N, C, H, W) to (N, M, H, W), M even.

    A pointwise convolution makes M/2 maps, a 3x3 depthwise one derives M/2 "ghosts" of them.
    Parameters of the convolutions: C M/2 + 9 M/2 against C M; MACs: the same for each position. Han
    et al. 2019, "GhostNet" (arXiv:1911.11907).
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Activation | None = relu
    ) -> None:
        super().__init__()
        half = out_channels // 2
        self.primary = ConvNormAct(in_channels, half, 1, activation=activation)
        self.cheap = ConvNormAct(half, half, 3, groups=half, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.primary(x)
        return torch.cat((y, self.cheap(y)), dim=1)
