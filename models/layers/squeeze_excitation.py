"""Squeeze-and-excitation: weigh each channel by what the whole map shows."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.layers.activation import Activation, relu


class SqueezeExcitation(nn.Module):
    """(N, C, H, W) to the same shape.

    Global average pool, a layer to ``squeezed`` channels, one back to C, and a gate in [0, 1] that
    multiplies every channel. Parameters: 2 C S + S + C with S = ``squeezed``; MACs: 2 C S.
    Hu et al. 2017, "Squeeze-and-Excitation Networks" (arXiv:1709.01507).
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        activation: Activation = relu,
        gate: Activation = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.fc1(x.mean(dim=(2, 3), keepdim=True)))
        weights: Tensor = self.gate(self.fc2(y))
        return x * weights
