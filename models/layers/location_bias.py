"""A bias at every location: shared kernels, unshared offsets."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LocationBias(nn.Module):
    """(N, C, H, W) of a fixed ``size`` = (H, W) to the same shape.

    It adds C H W learned values, as behind a convolution without bias, and lets the layer answer to
    where something is, not only to what it is. Parameters: C H W; MACs: none. Goodfellow et al.
    2016, "Deep Learning", section 9.5.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, *size))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1:] != self.bias.shape:
            expected, got = ("x".join(map(str, s)) for s in (self.bias.shape, x.shape[1:]))
            raise ValueError(f"the layer has a bias for every position of {expected}, not of {got}")
        return x + self.bias
