"""U-Net: segmentation that keeps fine detail through skips (Ronneberger et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, Task
from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.layers.unet import DoubleConv, UNetSkip
from edgeconv.models.registry import register

_FAMILY = "U-Net"
_PAPER = "Ronneberger et al. 2015, arXiv:1505.04597"
_PREPROCESSING = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
_DEPTH = 4


class UNet(nn.Module):
    """(N, C, H, W) images to (N, num_classes, H, W) logits; H and W are multiples of 16.

    ``upsample`` makes the layer from 2 C to C channels that doubles height and width.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        width_mult: float,
        dropout: float,
        upsample: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        first = make_divisible(64 * width_mult)
        widths = [first * 2**level for level in range(_DEPTH + 1)]
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            DoubleConv(before, after) for before, after in zip(inputs, widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        self.up = nn.ModuleList(
            UNetSkip(width, upsample(2 * width, width)) for width in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(first, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for index, convs in enumerate(self.down):
            x = convs(self.pool(x) if index else x)
            skips.append(x)
        x = self.dropout(skips.pop())
        for up in self.up:
            x = up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


@register(
    family=_FAMILY,
    task=Task.SEGMENTATION,
    input_shape=(3, 128, 128),
    parameters=1_942_594,
    macs=758_382_592,
    receptive_field=204,
    preprocessing=_PREPROCESSING,
    paper=_PAPER,
    size_multiple=2**_DEPTH,
)
def unet(
    num_classes: int = 2, in_channels: int = 3, width_mult: float = 0.25, dropout: float = 0.0
) -> nn.Module:
    """Upsamples by transposed convolution. ``width_mult=1`` has the paper's channels."""
    return UNet(num_classes, in_channels, width_mult, dropout, TransposedConv)


@register(
    family=_FAMILY,
    task=Task.SEGMENTATION,
    input_shape=(3, 128, 128),
    parameters=2_160_194,
    macs=1_026_818_048,
    receptive_field=236,
    preprocessing=_PREPROCESSING,
    paper=_PAPER,
    size_multiple=2**_DEPTH,
)
def unet_resize(
    num_classes: int = 2, in_channels: int = 3, width_mult: float = 0.25, dropout: float = 0.0
) -> nn.Module:
    """Upsamples by resizing, then convolving: no checkerboard."""
    return UNet(num_classes, in_channels, width_mult, dropout, ResizeConv)
