"""Fractionally strided convolution: zeros between the pixels make the stride a fraction."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class FractionallyStrided(nn.Conv2d):
    """(N, C, H, W) to (N, M, ceil(u H / d), ceil(u W / d)): a stride of d / u pixels.

    u - 1 zeros follow every pixel in both directions, then a convolution with k = ``kernel_size``
    >= u and stride d = ``down`` reads the dilated input. The image grows where u = ``up`` exceeds d
    and shrinks where d exceeds u. u = 1 is a strided convolution. d = 1 with k - u even is
    :class:`TransposedConv` of stride u with this kernel turned by 180 degrees, and C and M
    exchanged; that one skips the products with the zeros.

    Parameters: k² C M + M; MACs: k² C M for each OUTPUT position, u² times a transposed
    convolution's. Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning"
    (arXiv:1603.07285), chapter 4.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, up: int = 2, down: int = 1
    ) -> None:
        if kernel_size < up:
            raise ValueError(f"a kernel of {kernel_size} falls between pixels that are {up} apart")
        super().__init__(in_channels, out_channels, kernel_size, stride=down)
        self.up = up
        trail = (kernel_size - up) // 2
        lead = kernel_size - 1 - trail
        self.border = (lead, trail, lead, trail)

    def forward(self, input: Tensor) -> Tensor:
        dilated = dilate_input(input, self.up)
        return super().forward(functional.pad(dilated, self.border))


def dilate_input(x: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) to (N, C, s H, s W): pixel (y, x) moves to (s y, s x), the others are zero."""
    if factor == 1:
        return x
    cells = functional.pad(x.unsqueeze(2), (0, 0, 0, 0, 0, factor**2 - 1))
    return functional.pixel_shuffle(cells.flatten(1, 2), factor)
