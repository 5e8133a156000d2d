"""L2-norm pooling: the length of what a window holds."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class L2NormPool(nn.Module):
    """(N, C, H, W) to (N, C, floor(H / k), floor(W / k)): sqrt(sum of squares + ``eps``).

    It lies between the mean of absolute values and their maximum, and knows no sign. No parameters
    or MACs. ``eps`` keeps the gradient finite where a window holds nothing but zeros, which
    ``nn.LPPool2d`` does not. Sermanet et al. 2012, "Convolutional Neural Networks Applied to House
    Numbers Digit Classification" (arXiv:1204.3968).
    """

    def __init__(self, kernel_size: int = 2, eps: float = 1e-6) -> None:
        super().__init__()
        self.kernel_size, self.eps = kernel_size, eps

    def forward(self, x: Tensor) -> Tensor:
        energy = functional.avg_pool2d(x * x, self.kernel_size) * self.kernel_size**2
        return (energy + self.eps).sqrt()
