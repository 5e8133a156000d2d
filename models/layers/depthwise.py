"""Depthwise convolution: every channel has filters of its own."""

from __future__ import annotations

from torch import nn


class Depthwise(nn.Conv2d):
    """(N, C, H, W) to (N, m C, ceil(H / stride), ceil(W / stride)) with m = ``multiplier``.

    Channel c becomes the channels m c to m c + m - 1. Parameters: k² m C; MACs: the same for each
    output position, a C-th of the standard convolution. Sifre 2014, "Rigid-Motion Scattering for
    Image Classification" (PhD thesis, section 6.2).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        multiplier: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__(
            channels,
            multiplier * channels,
            kernel_size,
            stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=channels,
            bias=False,
        )
