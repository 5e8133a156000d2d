"""Dilated (atrous) convolution: a kernel with holes sees further at the same cost."""

from __future__ import annotations

from torch import nn


class Dilated(nn.Conv2d):
    """(N, C, H, W) to (N, M, H, W).

    A kernel of k² taps ``dilation`` = d pixels apart covers d (k - 1) + 1 pixels a side.
    Parameters: k² C M for every d; MACs: the same for each position. A stack with dilations
    1, 2, 4, ... sees exponentially far. Yu and Koltun 2015, "Multi-Scale Context Aggregation by
    Dilated Convolutions" (arXiv:1511.07122).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dilation: int
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            bias=False,
        )
