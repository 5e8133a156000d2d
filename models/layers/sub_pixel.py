"""Sub-pixel convolution: compute s² maps at low resolution, interleave them into one."""

from __future__ import annotations

from torch import Tensor, nn


class SubPixelConv(nn.Sequential):
    """(N, C, H, W) to (N, M, s H, s W) with s = ``scale``.

    A convolution to s² M channels, then the pixel shuffle: channel s² m + s i + j lands on the
    pixels (s y + i, s x + j). Parameters: k² C M s² + M s²; MACs: k² C M s² for each INPUT
    position. Shi et al. 2016, "Efficient Sub-Pixel Convolutional Neural Network"
    (arXiv:1609.05158).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, scale: int = 2
    ) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(
            in_channels, scale**2 * out_channels, kernel_size, padding=kernel_size // 2
        )
        self.shuffle = nn.PixelShuffle(scale)

    def resize_(self) -> None:
        """Make the layer begin as a nearest-neighbor resize, in place.

        The s² pixels of a cell get equal filters. Aitken et al. 2017, "Checkerboard artifact free
        sub-pixel convolution" (arXiv:1707.02937).
        """
        cells = self.scale**2
        self.conv.weight.data = _repeat_first(self.conv.weight.data, cells)
        if self.conv.bias is not None:
            self.conv.bias.data = _repeat_first(self.conv.bias.data, cells)


def _repeat_first(x: Tensor, cells: int) -> Tensor:
    return x[::cells].repeat_interleave(cells, dim=0)
