"""Max pooling that remembers where, and the unpooling that puts values back there."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class PoolUnpool(nn.Module):
    """(N, C, H, W) to the same shape, H and W even: ``inner`` works at half resolution.

    ``inner`` must keep shape. The index of each maximum travels around it; unpooling writes the
    result there and zeros elsewhere. No parameters or MACs of its own.
    Badrinarayanan et al. 2015, "SegNet" (arXiv:1511.00561).
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        pooled, where = functional.max_pool2d(x, 2, return_indices=True)
        return functional.max_unpool2d(self.inner(pooled), where, [2, 2])
