"""Feature pyramid: strong features at every resolution."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class FeaturePyramid(nn.Module):
    """Maps (N, C_i, H / 2^i, W / 2^i), finest first, to as many maps with M channels each.

    From the coarsest down: enlarge by nearest neighbor, add a 1x1 convolution of the finer map,
    smooth with a 3x3 one. Parameters: sum of C_i M + M + 9 M² + M; MACs: C_i M + 9 M² for each
    position of map i. Lin et al. 2016, "Feature Pyramid Networks" (arXiv:1612.03144).
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in in_channels)
        self.smooth = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels
        )

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        laterals = [conv(x) for conv, x in zip(self.lateral, maps, strict=True)]
        merged = [laterals.pop()]
        while laterals:
            fine = laterals.pop()
            coarse = functional.interpolate(merged[0], size=fine.shape[-2:], mode="nearest")
            merged.insert(0, fine + coarse)
        return tuple(conv(x) for conv, x in zip(self.smooth, merged, strict=True))
