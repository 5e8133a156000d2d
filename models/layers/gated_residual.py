"""WaveNet's gated residual unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.layers.causal import CausalConv1d


class GatedResidual(nn.Module):
    """(N, C, T) to a residual (N, C, T) and a skip (N, S, T).

    tanh of one causal convolution times sigmoid of another, then a pointwise convolution for each
    of the two ways on. Parameters: 2 (k C² + C) + C² + C + C S + S; MACs: 2 k C² + C² + C S for
    each step. van den Oord et al. 2016, "WaveNet" (arXiv:1609.03499).

    Args:
        is_last: only the skip is read; the input passes for the residual, which needs no weights.
    """

    def __init__(
        self,
        channels: int,
        skip_channels: int,
        kernel_size: int,
        dilation: int,
        *,
        is_last: bool = False,
    ) -> None:
        super().__init__()
        self.filter = CausalConv1d(channels, channels, kernel_size, dilation=dilation)
        self.gate = CausalConv1d(channels, channels, kernel_size, dilation=dilation)
        self.residual = None if is_last else nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, skip_channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x))
        return x if self.residual is None else x + self.residual(y), self.skip(y)
