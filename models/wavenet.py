"""Keyword spotting with dilated causal convolutions and gates (Coucke et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from edgeconv.models.card import Task
from edgeconv.models.layers.activation import relu
from edgeconv.models.layers.causal import CausalConv1d
from edgeconv.models.layers.gated_residual import GatedResidual
from edgeconv.models.registry import register

_DILATIONS = (1, 2, 4, 8) * 6


class WaveNetKeywords(nn.Module):
    """(N, C, T) features of T frames to (N, num_classes) logits.

    24 gated units see 183 frames, 1.8 s at 10 ms; their skips are summed, activated, and
    averaged over time.
    """

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = CausalConv1d(in_channels, 16, 3)
        last = len(_DILATIONS) - 1
        self.units = nn.ModuleList(
            GatedResidual(16, 32, 3, dilation, is_last=index == last)
            for index, dilation in enumerate(_DILATIONS)
        )
        self.head = nn.Sequential(relu(), nn.Conv1d(32, 128, 1), relu())
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x, total = self.units[0](x)
        for unit in self.units[1:]:
            x, skip = unit(x)
            total = total + skip
        y = self.head(total).mean(dim=2)
        logits: Tensor = self.fc(self.dropout(y))
        return logits


@register(
    family="WaveNet",
    task=Task.KEYWORD_SPOTTING,
    input_shape=(20, 184),
    parameters=63_692,
    macs=11_059_200,
    receptive_field=183,
    preprocessing=None,
    paper="Coucke et al. 2018, arXiv:1811.07684",
)
def wavenet_kws(num_classes: int = 12, in_channels: int = 20, dropout: float = 0.0) -> nn.Module:
    """Build a keyword spotter; ``in_channels`` are the features of each time step."""
    return WaveNetKeywords(num_classes, in_channels, dropout)
