"""Spatially separable convolution: a column, then a row."""

from __future__ import annotations

from torch import nn


class SpatiallySeparable(nn.Sequential):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)): k x 1, then 1 x k.

    Parameters: k C M + k M² with one group; with ``groups`` = C = M, 2 k C, against k² C of the
    depthwise convolution. MACs: k C M for each of the ceil(H / stride) W positions of the column's
    output, k M² for each output position. The pair equals one k x k kernel of the depthwise case
    exactly where that kernel has rank one: it is the outer product of a column and a row. Szegedy
    et al. 2015, "Rethinking the Inception Architecture" (arXiv:1512.00567), section 3.2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
    ) -> None:
        k, pad = kernel_size, (kernel_size - 1) // 2
        super().__init__()
        self.column = nn.Conv2d(
            in_channels,
            out_channels,
            (k, 1),
            (stride, 1),
            padding=(pad, 0),
            groups=groups,
            bias=False,
        )
        self.row = nn.Conv2d(
            out_channels,
            out_channels,
            (1, k),
            (1, stride),
            padding=(0, pad),
            groups=groups,
            bias=False,
        )
