"""Super-resolution that computes at low resolution only (Shi et al. 2016)."""

from __future__ import annotations

from torch import nn

from edgeconv.models.card import Preprocessing, Task
from edgeconv.models.layers.sub_pixel import SubPixelConv
from edgeconv.models.registry import register


class ESPCN(nn.Sequential):
    """(N, C, H, W) images to (N, C, s H, s W) with s = ``scale``."""

    def __init__(self, in_channels: int, scale: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, 64, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Tanh(),
            SubPixelConv(32, in_channels, 3, scale),
        )


@register(
    family="ESPCN",
    task=Task.SUPER_RESOLUTION,
    input_shape=(1, 64, 64),
    parameters=22_729,
    macs=92_667_904,
    receptive_field=9,
    preprocessing=Preprocessing(mean=(0.0,), std=(1.0,)),
    paper="Shi et al. 2016, arXiv:1609.05158",
)
def espcn(in_channels: int = 1, scale: int = 3) -> nn.Module:
    """Works on the luminance; the two color channels are enlarged by interpolation."""
    return ESPCN(in_channels, scale)
