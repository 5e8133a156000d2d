"""Locally connected layer: a convolution that does not share its kernels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LocallyConnected(nn.Module):
    """(N, C, H, W) of a fixed ``size`` = (H, W) to (N, M, H', W'), H' = ceil(H / stride).

    Every output position has a kernel and a bias of its own: the same reach as a convolution, and
    no translation that it could generalize over. With P = H' W' positions, parameters: P (k² C M +
    M); MACs: k² C M for each position, as a convolution. LeCun 1989, "Generalization and Network
    Design Strategies"; Taigman et al. 2014, "DeepFace" (CVPR).

    The patches are gathered by k² slices and multiplied with P matrices in one batched product,
    which both file formats have.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: tuple[int, int],
        kernel_size: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.size, self.kernel_size, self.stride = size, kernel_size, stride
        self.out_size = (-(-size[0] // stride), -(-size[1] // stride))
        positions, fan_in = math.prod(self.out_size), kernel_size**2 * in_channels
        self.weight = nn.Parameter(torch.empty(positions, fan_in, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels, *self.out_size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_in))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.size:
            height, width = self.size
            raise ValueError(
                f"the layer has a kernel for every position of {height}x{width} inputs, "
                f"not of {x.shape[2]}x{x.shape[3]}"
            )
        patches = _patches(x, self.kernel_size, self.stride, self.out_size)
        # (P, N, C k²) times (P, C k², M): each position by its own matrix.
        products = patches.flatten(2).permute(2, 0, 1) @ self.weight
        maps = products.permute(1, 2, 0).reshape(x.shape[0], -1, *self.out_size)
        y: Tensor = maps + self.bias
        return y


def _patches(x: Tensor, kernel: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Return (N, k² C, H', W'): the pixels under each tap of the kernel."""
    lead = (kernel - 1) // 2
    height, width = size
    trail = kernel - 1 - lead
    padded = functional.pad(x, (lead, trail, lead, trail))
    rows, columns = (stride * (count - 1) + 1 for count in (height, width))
    taps = [
        padded[:, :, i : i + rows : stride, j : j + columns : stride]
        for i in range(kernel)
        for j in range(kernel)
    ]
    return torch.cat(taps, dim=1)
