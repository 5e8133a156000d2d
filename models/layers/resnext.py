"""ResNeXt block: a bottleneck split into many narrow paths of the same shape."""

from __future__ import annotations

from edgeconv.models.layers.residual import Bottleneck


class ResNeXtBlock(Bottleneck):
    """(N, C, H, W) to (N, 4 W, H / stride, W / stride) with W = ``width``.

    ``cardinality`` = G paths of ``path_width`` W / 64 channels each, summed; written as one
    bottleneck with a grouped 3x3 convolution of inner width V = G path_width W / 64. Parameters of
    the convolutions: C V + 9 V²/G + 4 V W, and 4 C W of a projection; MACs: C V for each input
    position, the rest for each output position.
    Xie et al. 2016, "Aggregated Residual Transformations" (arXiv:1611.05431).
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        *,
        cardinality: int = 32,
        path_width: int = 4,
    ) -> None:
        super().__init__(in_channels, width, stride, groups=cardinality, base_width=path_width)
