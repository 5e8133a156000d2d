"""Inverted residual with a linear bottleneck."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.layers.activation import relu6
from edgeconv.models.layers.conv_norm_act import ConvNormAct


class InvertedResidual(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)).

    A pointwise expansion to t C channels, a 3x3 depthwise convolution, and a pointwise projection
    without activation; the input is added where the shapes agree. The shortcut joins the narrow
    ends, the reverse of a bottleneck. Parameters of the convolutions: t C² + 9 t C + t C M; MACs: t
    C² for each input position, the rest for each output position. Sandler et al. 2018,
    "MobileNetV2" (arXiv:1801.04381).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int, dilation: int = 1
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.has_shortcut = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNormAct(in_channels, hidden, 1, activation=relu6))
        layers += [
            ConvNormAct(
                hidden, hidden, 3, stride, groups=hidden, dilation=dilation, activation=relu6
            ),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y
