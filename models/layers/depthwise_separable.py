"""Depthwise separable convolution: filter each channel, then mix the channels."""

from __future__ import annotations

from torch import nn

from edgeconv.models.layers.activation import Activation, relu
from edgeconv.models.layers.conv_norm_act import ConvNormAct


class DepthwiseSeparable(nn.Sequential):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)).

    A kxk depthwise convolution and a 1x1 pointwise one, each normalized and activated. Parameters
    of the convolutions: k² C + C M against k² C M of the standard convolution, a ratio of
    1/M + 1/k²; MACs: the same for each output position. Howard et al. 2017, "MobileNets"
    (arXiv:1704.04861), after Sifre 2014.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        activation: Activation = relu,
    ) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size,
            stride,
            groups=in_channels,
            activation=activation,
        )
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, activation=activation)
