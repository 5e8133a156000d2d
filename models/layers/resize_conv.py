"""Resize, then convolve: upsampling without checkerboard."""

from __future__ import annotations

from typing import Literal

from torch import nn

from edgeconv.models.layers.same_padding import same_padding


class ResizeConv(nn.Sequential):
    """(N, C, H, W) to (N, M, s H, s W) with s = ``scale``, k odd.

    Every output pixel reads the same number of inputs, so no pattern is built in. Parameters:
    k² C M + M; MACs: k² C M for each OUTPUT position, s² times a transposed convolution's with
    the same kernel. Odena et al. 2016, "Deconvolution and Checkerboard Artifacts" (Distill).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        scale: int = 2,
        mode: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__()
        self.resize = nn.Upsample(scale_factor=scale, mode=mode)
        padding = same_padding(kernel_size)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)
