"""Standard convolution, batch normalization and activation, in that order."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from edgeconv.models.layers.activation import Activation, relu

Norm = Callable[[int], nn.Module]


class ConvNormAct(nn.Sequential):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)) for an odd kernel.

    Parameters: k² C M / groups, and 2 M of the normalization; none for a bias, which the
    normalization's would repeat. MACs: k² C M / groups for each output position. Padding is
    symmetric: dilation (k - 1) / 2 on each side. ``activation=None`` leaves the output linear.
    LeCun et al. 1989, "Backpropagation Applied to Handwritten Zip Code Recognition"; Ioffe and
    Szegedy 2015, "Batch Normalization" (arXiv:1502.03167).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        norm: Norm = nn.BatchNorm2d,
        activation: Activation | None = relu,
    ) -> None:
        conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        layers = [conv, norm(out_channels)]
        super().__init__(*layers, *([activation()] if activation else []))
