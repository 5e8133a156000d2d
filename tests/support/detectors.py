"""A detector's head: boxes in pixels and scores, joined in one output."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from edgeconv.models.randomize import structured_input

SHAPE = (3, 16, 16)


class Detector(nn.Module):
    """Boxes up to 320 pixels and five small scores for each of 64 places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.boxes, self.scores = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Join both, and read them by a permutation and a scale."""
        features = self.stem(x)
        boxes = 320 * self.boxes(features).flatten(2).sigmoid()
        scores = (4 * self.scores(features).flatten(2) - 6).sigmoid()
        return 1.5 * torch.cat([boxes, scores], 1).transpose(1, 2)


def detector() -> nn.Module:
    """The same one every time."""
    torch.manual_seed(0)
    return Detector().eval()


def samples(count: int) -> np.ndarray:
    """Structured inputs, [count, 3, 16, 16]."""
    return structured_input((count, *SHAPE)).numpy()
