"""Grouped convolution, and the shuffle that lets its groups talk to each other."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.layers.activation import Activation, relu
from edgeconv.models.layers.conv_norm_act import ConvNormAct


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """(N, C, H, W) to the same shape: channel g C/groups + i moves to i groups + g.

    Reads the channels as a groups x C/groups matrix and transposes it.
    Zhang et al. 2017, "ShuffleNet" (arXiv:1707.01083).
    """
    batch, channels, height, width = x.shape
    x = x.view(batch, groups, channels // groups, height, width)
    return x.transpose(1, 2).reshape(batch, channels, height, width)


class GroupedShuffle(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)): a grouped convolution, shuffled.

    Parameters of the convolution: k² C M / groups, which is 1/groups of the standard one; MACs: the
    same for each output position. Without the shuffle, a chain of such layers would be ``groups``
    separate networks. Zhang et al. 2017, "ShuffleNet" (arXiv:1707.01083).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        groups: int,
        activation: Activation | None = relu,
    ) -> None:
        super().__init__()
        self.groups = groups
        self.conv = ConvNormAct(
            in_channels, out_channels, kernel_size, stride, groups=groups, activation=activation
        )

    def forward(self, x: Tensor) -> Tensor:
        return channel_shuffle(self.conv(x), self.groups)
