"""Auxiliary head: a second classifier in the middle of a deep network.

Its loss brings gradient to early layers during training; it is dropped afterwards.
Szegedy et al. 2014, "Going Deeper with Convolutions" (arXiv:1409.4842).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from edgeconv.models.layers.inception import BasicConv


class AuxiliaryHead(nn.Module):
    """(N, C, H, W) to (N, num_classes) logits.

    Pool to 4x4, 1x1 convolution to 128 channels, two linear layers. Parameters of the layers:
    128 C + 2048 1024 + 1024 + 1025 num_classes; MACs: 16 128 C + 2048 1024 + 1024 num_classes.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv(in_channels, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(functional.adaptive_avg_pool2d(x, (4, 4)))
        y = functional.relu(self.fc1(y.flatten(1)), inplace=True)
        logits: Tensor = self.fc2(self.dropout(y))
        return logits
