"""Causal dilated 1-D convolution: the output at time t reads no input after t."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class CausalConv1d(nn.Conv1d):
    """(N, C, T) to (N, M, T): d (k - 1) zeros before the sequence, none after it.

    Parameters: k C M + M; MACs: k C M for each step.
    van den Oord et al. 2016, "WaveNet" (arXiv:1609.03499).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation)
        self.lead = dilation * (kernel_size - 1)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(functional.pad(input, (self.lead, 0)))
