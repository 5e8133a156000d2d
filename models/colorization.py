"""Colors for gray photographs (Zhang et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, Task
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.registry import register

_BINS = 313  # cells of the ab plane, 10 units a side, that lie inside the gamut

# The paper's table 4: output channels, convolutions, stride of the last one, dilation.
_BLOCKS = (
    (64, 2, 2, 1),
    (128, 2, 2, 1),
    (256, 3, 2, 1),
    (512, 3, 1, 1),
    (512, 3, 1, 2),
    (512, 3, 1, 2),
    (512, 3, 1, 1),
)


class Colorization(nn.Module):
    """(N, C, H, W) lightness to (N, 2, H, W) chroma a and b, H and W multiples of 8.

    Convolutions with dilation where strides would lose detail; a distribution over color bins at
    a quarter of the resolution; its expected color, enlarged.
    """

    def __init__(self, in_channels: int, width_mult: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = in_channels
        for base, count, stride, dilation in _BLOCKS:
            width = make_divisible(base * width_mult)
            for index in range(count):
                step = stride if index == count - 1 else 1
                layers.append(
                    nn.Conv2d(channels, width, 3, step, padding=dilation, dilation=dilation)
                )
                layers.append(relu())
                channels = width
            layers.append(nn.BatchNorm2d(channels))
        width = make_divisible(256 * width_mult)
        layers += [TransposedConv(channels, width, 4), relu()]
        for _ in range(2):
            layers += [nn.Conv2d(width, width, 3, padding=1), relu()]
        self.features = nn.Sequential(*layers, nn.Conv2d(width, _BINS, 1))
        self.colors = nn.Conv2d(_BINS, 2, 1, bias=False)
        self.upsample = nn.Upsample(scale_factor=4, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.features(x), dim=1)
        chroma: Tensor = self.upsample(self.colors(weights))
        return chroma


@register(
    family="Colorization",
    task=Task.COLORIZATION,
    input_shape=(1, 128, 128),
    parameters=2_033_211,
    macs=670_484_480,
    receptive_field=357,
    preprocessing=Preprocessing(mean=(0.5,), std=(1.0,)),
    paper="Zhang et al. 2016, arXiv:1603.08511",
    size_multiple=8,
)
def colorization(in_channels: int = 1, width_mult: float = 0.25) -> nn.Module:
    """``width_mult=1`` has the paper's channels."""
    return Colorization(in_channels, width_mult)
