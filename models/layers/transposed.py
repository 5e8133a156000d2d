"""Transposed convolution: the gradient of a strided convolution, used to enlarge a map."""

from __future__ import annotations

from torch import nn


class TransposedConv(nn.ConvTranspose2d):
    """(N, C, H, W) to (N, M, s H, s W) with s = ``stride``, for k - s even and not negative.

    Every input pixel paints a k x k patch. Where s does not divide k, neighboring outputs receive
    patches of different number: the checkerboard. Parameters: k² C M + M; MACs: k² C M for each
    input position. Zeiler et al. 2010, "Deconvolutional Networks" (CVPR); the artifact: Odena et
    al. 2016, "Deconvolution and Checkerboard Artifacts" (Distill).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 2,
        stride: int = 2,
        *,
        bias: bool = True,
    ) -> None:
        if kernel_size < stride or (kernel_size - stride) % 2:
            raise ValueError(
                f"kernel_size must be stride plus an even number, not {kernel_size} with {stride}"
            )
        padding = (kernel_size - stride) // 2
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
