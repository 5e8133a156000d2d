"""Tiled convolution: a few kernels that take turns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.same_padding import same_padding


class TiledConv(nn.Module):
    """(N, C, H, W) to (N, M, H, W): t x t kernels in rotation, t = ``tiles``, k odd.

    Position (y, x) is multiplied with kernel (y mod t, x mod t): neighbors have unlike kernels,
    positions t apart have the same. t = 1 is a convolution, and with t as large as the map the
    layer is locally connected. Parameters: t² (k² C M + M); MACs: k² C M for each position, H and W
    rounded up to multiples of t. `edgeconv cost` shows the reach of all t x t kernels together,
    t - 1 pixels more than each has. Gregor and LeCun 2010 (arXiv:1006.0448); Le et al. 2010, "Tiled
    Convolutional Neural Networks" (NIPS).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, tiles: int = 2
    ) -> None:
        super().__init__()
        self.tiles, self.padding = tiles, same_padding(kernel_size)
        self.weight = nn.Parameter(
            torch.empty(tiles, tiles, out_channels, in_channels, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.zeros(tiles, tiles, out_channels))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (kernel_size**2 * in_channels)))

    def forward(self, x: Tensor) -> Tensor:
        tiles, (height, width) = self.tiles, x.shape[2:]
        lead = self.padding
        trail = [lead + -size % tiles for size in (height, width)]
        padded = functional.pad(x, (lead, trail[1], lead, trail[0]))
        # Each kernel reads the positions that are its turn, a stride of t apart.
        maps = [
            functional.conv2d(
                padded[:, :, i : padded.shape[2] - (tiles - 1 - i), j:],
                self.weight[i, j],
                self.bias[i, j],
                stride=tiles,
            )
            for i in range(tiles)
            for j in range(tiles)
        ]
        y = functional.pixel_shuffle(torch.stack(maps, dim=2).flatten(1, 2), tiles)
        return y[:, :, :height, :width]
