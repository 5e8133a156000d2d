"""Universal inverted bottleneck: one block that holds four designs."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.conv_norm_act import ConvNormAct


class UniversalBottleneck(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)).

    An inverted residual with two optional depthwise convolutions, one before the expansion (kernel
    ``start``) and one after it (kernel ``middle``): only the middle is an inverted residual, only
    the start a ConvNext-like block, neither a feed-forward layer, both "extra depthwise".
    Parameters of the convolutions, E = C expansion: start² C + C E + middle² E + E M; MACs: each
    once for every position that its convolution writes. The middle convolution strides, or else the
    first. Qin et al. 2024, "MobileNetV4" (arXiv:2404.10518).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        *,
        start: int = 0,
        middle: int = 0,
        stride: int = 1,
    ) -> None:
        super().__init__()
        if stride > 1 and not start and not middle:
            raise ValueError("a stride needs a depthwise convolution, start or middle")
        self.has_shortcut = stride == 1 and in_channels == out_channels
        hidden = in_channels * expansion
        layers: list[nn.Module] = []
        if start:
            layers.append(
                ConvNormAct(
                    in_channels,
                    in_channels,
                    start,
                    1 if middle else stride,
                    groups=in_channels,
                    activation=None,
                )
            )
        layers.append(ConvNormAct(in_channels, hidden, 1, activation=relu))
        if middle:
            layers.append(
                ConvNormAct(hidden, hidden, middle, stride, groups=hidden, activation=relu)
            )
        layers.append(ConvNormAct(hidden, out_channels, 1, activation=None))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.has_shortcut else y
