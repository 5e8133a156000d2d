"""Network in network: a small fully connected network slides over the image."""

from __future__ import annotations

from torch import nn

from edgeconv.models.layers.activation import relu


class MlpConv(nn.Sequential):
    """(N, C, H, W) to (N, M, H, W): a k x k convolution to A channels, then 1x1 ones to B and M.

    ``widths`` = (A, B, M). Parameters: k² C A + A + A B + B + B M + M; MACs: k² C A + A B + B M for
    each position. Lin et al. 2013, "Network In Network" (arXiv:1312.4400).
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int], kernel_size: int) -> None:
        a, b, m = widths
        super().__init__(
            nn.Conv2d(in_channels, a, kernel_size, padding=kernel_size // 2),
            relu(),
            nn.Conv2d(a, b, 1),
            relu(),
            nn.Conv2d(b, m, 1),
            relu(),
        )
