"""Convolution in the frequency domain: there it is a product."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgeconv.models.layers.same_padding import same_padding


class FrequencyConv(nn.Module):
    """(N, C, H, W) to (N, M, H, W), k odd: what a convolution with zero padding computes.

    Input and kernels are zero-padded to P x Q, the powers of two from H + k - 1 and W + k - 1 on,
    so that the circular convolution of the transform wraps around nothing. Parameters: k² C M + M.
    Real multiplications, for constant kernels, whose transforms are taken once: 4 C M P (Q / 2 + 1)
    products, over the half of the spectrum that a real signal needs, and P Q log2(P Q) for each of
    the C + M transforms; k is in them only through P and Q. Mathieu et al. 2013, "Fast
    Training of Convolutional Networks through FFTs" (arXiv:1312.5851); Vasilache et al. 2014
    (arXiv:1412.7580).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        k, self.padding = kernel_size, same_padding(kernel_size)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, k, k))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (k**2 * in_channels)))

    def forward(self, x: Tensor) -> Tensor:
        k, (height, width) = self.weight.shape[-1], x.shape[2:]
        size = [transform_size(n, k) for n in (height, width)]
        # The cross-correlation of a network is a convolution with the kernel turned by 180 degrees.
        kernel = torch.view_as_real(torch.fft.rfft2(self.weight.flip(2, 3), s=size))
        signal = torch.view_as_real(torch.fft.rfft2(x, s=size))
        product = torch.view_as_complex(_products(signal, kernel))
        y = torch.fft.irfft2(product, s=size)
        first = self.padding
        inner: Tensor = y[:, :, first : first + height, first : first + width]
        return inner + self.bias[:, None, None]


def transform_size(size: int, kernel_size: int) -> int:
    """Return the power of two that holds a linear convolution of ``size`` pixels."""
    return 1 << (size + kernel_size - 2).bit_length()


def _products(signal: Tensor, kernel: Tensor) -> Tensor:
    """Return (N, M, P, R, 2) from (N, C, P, R, 2) and (M, C, P, R, 2): complex sums over C.

    [a b] times [[c d] [-b c]] in blocks is (a + ib)(c + id) with real numbers, so one real matrix
    product for each frequency does it.
    """
    spectrum = signal.shape[2:4]
    rows = signal.permute(2, 3, 0, 4, 1).flatten(0, 1).flatten(2)  # (P R, N, 2 C)
    real, imaginary = kernel.permute(4, 2, 3, 1, 0).flatten(1, 2)  # (P R, C, M) each
    upper, lower = torch.cat((real, imaginary), 2), torch.cat((-imaginary, real), 2)
    sums = rows @ torch.cat((upper, lower), dim=1)  # (P R, N, 2 M)
    count = kernel.shape[0]
    apart = sums.reshape(*spectrum, sums.shape[1], 2, count)
    return apart.permute(2, 4, 0, 1, 3).contiguous()
