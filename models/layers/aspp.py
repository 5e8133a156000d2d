"""Atrous spatial pyramid pooling: one map seen at several scales at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.conv_norm_act import ConvNormAct


class ASPP(nn.Module):
    """(N, C, H, W) to (N, M, H, W).

    In parallel a 1x1 convolution, a 3x3 one for each dilation in ``rates``, and the mean of the
    whole map; concatenated and projected. Parameters of the convolutions, R rates: C M + 9 C M R +
    C M + (R + 2) M²; MACs: C M of the mean's once, the rest for each position. Chen et al. 2017,
    "Rethinking Atrous Convolution" (arXiv:1706.05587).
    """

    def __init__(
        self, in_channels: int, out_channels: int, rates: tuple[int, ...] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.pointwise = ConvNormAct(in_channels, out_channels, 1)
        self.atrous = nn.ModuleList(
            ConvNormAct(in_channels, out_channels, 3, dilation=rate) for rate in rates
        )
        self.pooled = ConvNormAct(in_channels, out_channels, 1)
        self.project = ConvNormAct((len(rates) + 2) * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.pooled(x.mean(dim=(2, 3), keepdim=True))
        whole = functional.interpolate(mean, size=x.shape[-2:], mode="nearest")
        branches = (self.pointwise(x), *(conv(x) for conv in self.atrous), whole)
        y: Tensor = self.project(torch.cat(branches, dim=1))
        return y
