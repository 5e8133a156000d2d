"""Fire module: squeeze to few channels, expand with 1x1 and 3x3 kernels side by side."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.layers.activation import relu


class Fire(nn.Module):
    """(N, C, H, W) to (N, 2 E, H, W) with E = ``expanded``.

    Parameters: C S + S, E S + E and 9 E S + E with S = ``squeezed``; MACs: C S + 10 E S for each
    position. Iandola et al. 2016, "SqueezeNet" (arXiv:1602.07360).
    """

    def __init__(self, in_channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)
        self.activation = relu()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.squeeze(x))
        # One activation after the concatenation equals one on each branch.
        out: Tensor = self.activation(torch.cat((self.expand1x1(y), self.expand3x3(y)), dim=1))
        return out
