"""Depth from one image, fast enough for small boards (Wofk et al. 2019)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from edgeconv.models.card import Preprocessing, Task
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.depthwise_separable import DepthwiseSeparable
from edgeconv.models.mobilenet_v1 import features
from edgeconv.models.registry import register

# Layers of the encoder whose outputs, at strides 2, 4 and 8, are added to the decoder's.
_SKIPS = (1, 3, 5)


class FastDepth(nn.Module):
    """(N, C, H, W) images to (N, 1, H, W) depths, H and W multiples of 32.

    MobileNetV1 down; 5x5 depthwise separable convolutions and nearest-neighbor resizing up;
    skips are added, not concatenated, which keeps the decoder narrow.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.encoder = features(in_channels, 1.0)
        widths = (1024, 512, 256, 128, 64, 32)
        self.decoder = nn.ModuleList(
            DepthwiseSeparable(before, after, 5) for before, after in itertools.pairwise(widths)
        )
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = ConvNormAct(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for index, layer in enumerate(self.encoder):
            x = layer(x)
            if index in _SKIPS:
                skips.append(x)
        for index, layer in enumerate(self.decoder):
            x = self.upsample(layer(x))
            # The first and the last resolution of the decoder have no counterpart.
            if 1 <= index <= len(_SKIPS):
                x = x + skips.pop()
        depth: Tensor = self.head(x)
        return depth


@register(
    family="FastDepth",
    task=Task.DEPTH,
    parameters=3_960_930,
    macs=736_658_944,
    receptive_field=571,
    preprocessing=Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=224),
    paper="Wofk et al. 2019, arXiv:1903.03273",
    size_multiple=32,
)
def fastdepth(in_channels: int = 3) -> nn.Module:
    """The network before the paper's pruning."""
    return FastDepth(in_channels)
