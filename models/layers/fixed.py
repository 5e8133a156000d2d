"""Convolutions with kernels that are not learned: designed ones, and random ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.same_padding import same_padding
from edgeconv.models.separability import is_spatially_separable, separate


class FixedConv(nn.Module):
    """(N, C, H, W) to (N, C n, H, W): each channel through each of n fixed k x k kernels, k odd.

    ``kernels`` is (n, k, k), as :mod:`edgeconv.models.kernels` makes them. Channel c n + i answers
    to kernel i on channel c. Parameters: none, the k² C n weights are a buffer; MACs: k² C n for
    each position. Bruna and Mallat 2013, "Invariant Scattering Convolution Networks"
    (arXiv:1203.1513), build whole networks of such layers.
    """

    weight: Tensor

    def __init__(self, in_channels: int, kernels: Tensor) -> None:
        super().__init__()
        self.in_channels, self.padding = in_channels, _padding_of(kernels)
        self.register_buffer("weight", kernels.repeat(in_channels, 1, 1)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, padding=self.padding, groups=self.in_channels)


class SeparableFixedConv(nn.Module):
    """What :class:`FixedConv` computes, by a column and a row: for kernels of rank one.

    Parameters: none; MACs: 2 k C n for each position instead of k² C n.
    """

    column: Tensor
    row: Tensor

    def __init__(self, in_channels: int, kernels: Tensor) -> None:
        super().__init__()
        self.in_channels, self.padding = in_channels, _padding_of(kernels)
        if not is_spatially_separable(kernels):
            raise ValueError("a kernel has a rank above one: it is no column times a row")
        column, row = separate(kernels.repeat(in_channels, 1, 1)[:, None])
        self.register_buffer("column", column)
        self.register_buffer("row", row)

    def forward(self, x: Tensor) -> Tensor:
        pad, maps = self.padding, self.row.shape[0]
        y = functional.conv2d(x, self.column, padding=(pad, 0), groups=self.in_channels)
        return functional.conv2d(y, self.row, padding=(0, pad), groups=maps)


class RandomFeatures(nn.Module):
    """(N, C, H, W) to (N, M, H, W): a convolution with random kernels that stay, and a ReLU, k odd.

    Only what follows is trained. That a random first layer does almost as well shows how much of a
    network's success is its architecture's. Parameters: none, the k² C M weights are a buffer;
    MACs: k² C M for each position. Jarrett et al. 2009, "What is the Best Multi-Stage Architecture
    for Object Recognition?" (ICCV); Saxe et al. 2011, "On Random Weights and Unsupervised Feature
    Learning" (ICML).

    Args:
        seed: The same seed draws the same kernels.
    """

    weight: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.padding = same_padding(kernel_size)
        generator = torch.Generator().manual_seed(seed)
        fan_in = kernel_size**2 * in_channels
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        # A network can be built on another device; the draw is the same on all of them.
        drawn = torch.randn(shape, generator=generator, device="cpu") * math.sqrt(2 / fan_in)
        self.register_buffer("weight", drawn)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(functional.conv2d(x, self.weight, padding=self.padding))


def _padding_of(kernels: Tensor) -> int:
    if kernels.ndim != 3 or kernels.shape[1] != kernels.shape[2]:
        shape = "x".join(map(str, kernels.shape))
        raise ValueError(f"kernels must be (n, k, k), not {shape}; one is kernel[None]")
    return same_padding(kernels.shape[-1])
