"""Selective kernel: paths of different reach, weighed by what the map shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeconv.models.layers.channels import make_divisible
from edgeconv.models.layers.conv_norm_act import ConvNormAct


class SelectiveKernel(nn.Module):
    """(N, C, H, W) to (N, M, ceil(H / stride), ceil(W / stride)).

    P 3x3 convolutions with dilations 1, 2, ... P; their sum, pooled, decides by a softmax over the
    paths how much each path counts in each channel. Parameters of the convolutions: 9 C M P + M R +
    R M P with R = max(16, M / 8) rounded to a multiple of 16; MACs: 9 C M P for each output
    position, the rest once. Li et al. 2019, "Selective Kernel Networks" (arXiv:1903.06586).

    Args:
        split_input: each path reads its own C / P channels (9 C M parameters in all), which keeps
            the cost of one convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        paths: int = 2,
        split_input: bool = False,
    ) -> None:
        super().__init__()
        self.split_input = split_input
        read = in_channels // paths if split_input else in_channels
        self.paths = nn.ModuleList(
            ConvNormAct(read, out_channels, 3, stride, dilation=dilation)
            for dilation in range(1, paths + 1)
        )
        reduced = make_divisible(out_channels / 8, 16)
        self.reduce = ConvNormAct(out_channels, reduced, 1)
        self.select = nn.Conv2d(reduced, out_channels * paths, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        count = len(self.paths)
        inputs = x.chunk(count, dim=1) if self.split_input else (x,) * count
        maps = [path(part) for path, part in zip(self.paths, inputs, strict=True)]
        pooled = sum(maps[1:], maps[0]).mean(dim=(2, 3), keepdim=True)
        logits = self.select(self.reduce(pooled)).flatten(1)
        batch, channels = maps[0].shape[:2]
        weights = torch.softmax(logits.view(batch, count, channels), dim=1)
        weighted = [part * weights[:, index, :, None, None] for index, part in enumerate(maps)]
        y: Tensor = sum(weighted[1:], weighted[0])
        return y
