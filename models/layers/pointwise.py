"""Pointwise convolution: the same linear layer at every position."""

from __future__ import annotations

from torch import nn


class Pointwise(nn.Conv2d):
    """(N, C, H, W) to (N, M, H, W) with a 1x1 kernel: mixes channels, sees no neighbor.

    Parameters: C M; MACs: C M for each position, one matrix product for the whole map.
    Lin et al. 2013, "Network In Network" (arXiv:1312.4400).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
