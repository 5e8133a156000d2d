"""Initial weights for training from scratch.

He et al. 2015, "Delving Deep into Rectifiers" (arXiv:1502.01852), fan-out mode: gradients keep
their variance through ReLU layers.
"""

from __future__ import annotations

from torch import nn

Convolution = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


def initialize_(network: nn.Module) -> None:
    """He-initialize convolutions in place; linear layers keep PyTorch's own initialization."""
    for module in network.modules():
        if isinstance(module, Convolution):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
