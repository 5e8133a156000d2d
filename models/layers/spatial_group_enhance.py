"""Spatial group-wise enhance: each group of channels finds where its own feature is."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpatialGroupEnhance(nn.Module):
    """(N, C, H, W) to the same shape, G = ``groups`` dividing C.

    Where selective kernels weigh channels, this weighs positions: in each group, the similarity of
    every position with the group's mean over the map, normalized over the positions, scaled and
    shifted, goes through a sigmoid that multiplies the group there. Parameters: 2 G, a scale and a
    shift for each group; MACs: C for each position. Li et al. 2019, "Spatial Group-wise Enhance"
    (arXiv:1905.09646).
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{groups} groups do not divide {channels} channels")
        self.groups = groups
        # As in the paper: all positions count alike, sigmoid(1), until training says otherwise.
        self.weight = nn.Parameter(torch.zeros(groups, 1, 1))
        self.bias = nn.Parameter(torch.ones(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        # (N G, C / G, P): one matrix for each group.
        groups = x.reshape(batch * self.groups, channels // self.groups, height * width)
        mean = groups.mean(dim=2, keepdim=True)
        similarity = mean.transpose(1, 2) @ groups  # (N G, 1, P)
        centered = similarity - similarity.mean(dim=2, keepdim=True)
        variance = (centered * centered).mean(dim=2, keepdim=True)
        normal = centered / (variance + 1e-5).sqrt()
        normal = normal.reshape(batch, self.groups, height, width)
        gate = torch.sigmoid(normal * self.weight + self.bias)
        return (groups * gate.reshape(-1, 1, height * width)).reshape(x.shape)
