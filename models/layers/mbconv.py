"""Mobile inverted bottleneck: the inverted residual with any kernel, activation and gating."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from edgeconv.models.layers.activation import Activation
from edgeconv.models.layers.conv_norm_act import ConvNormAct, Norm


class MBConv(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)).

    Expansion to ``hidden`` = E channels (left out where E = C), a k x k depthwise convolution,
    optionally a gate such as squeeze-and-excitation, and a linear projection. Parameters of the
    convolutions: C E + k² E + E M, and the gate's; MACs: C E for each input position, k² E + E M
    for each output position, and the gate's. Tan et al. 2018, "MnasNet" (arXiv:1807.11626); Howard
    et al. 2019, "Searching for MobileNetV3" (arXiv:1905.02244).

    Args:
        squeeze: from ``hidden`` to the gate between the depthwise convolution and the projection.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden: int,
        kernel_size: int,
        stride: int,
        *,
        activation: Activation,
        norm: Norm = nn.BatchNorm2d,
        squeeze: Callable[[int], nn.Module] | None = None,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.has_shortcut = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if hidden != in_channels:
            layers.append(ConvNormAct(in_channels, hidden, 1, norm=norm, activation=activation))
        layers.append(
            ConvNormAct(
                hidden,
                hidden,
                kernel_size,
                stride,
                groups=hidden,
                dilation=dilation,
                norm=norm,
                activation=activation,
            )
        )
        if squeeze:
            layers.append(squeeze(hidden))
        layers.append(ConvNormAct(hidden, out_channels, 1, norm=norm, activation=None))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.has_shortcut else y
