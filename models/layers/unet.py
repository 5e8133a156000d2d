"""U-Net: a decoder that reads the encoder's maps beside its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.layers.conv_norm_act import ConvNormAct


class DoubleConv(nn.Sequential):
    """(N, C, H, W) to (N, M, H, W): two 3x3 convolutions, each normalized and activated.

    Parameters of the convolutions: 9 C M + 9 M²; MACs: the same for each position.
    Ronneberger et al. 2015, "U-Net" (arXiv:1505.04597).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvNormAct(in_channels, out_channels), ConvNormAct(out_channels, out_channels)
        )


class UNetSkip(nn.Module):
    """(N, 2 C, H, W) from below and (N, C, 2 H, 2 W) from the encoder to (N, C, 2 H, 2 W).

    Upsample to C channels, concatenate, convolve twice. Parameters of the convolutions: those of
    ``upsample``, and 18 C² + 9 C²; MACs: the same for each output position. Ronneberger et al.
    2015, "U-Net" (arXiv:1505.04597), here with padding and batch normalization.
    """

    def __init__(self, channels: int, upsample: nn.Module) -> None:
        super().__init__()
        self.upsample = upsample
        self.convs = DoubleConv(2 * channels, channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.convs(torch.cat((skip, self.upsample(x)), dim=1))
        return y
