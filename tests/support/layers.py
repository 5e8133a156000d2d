"""What the tests of layers and kernels share."""

from __future__ import annotations

from torch import Tensor

from edgeconv.models.randomize import structured_input

# Sums in another order: float32 agrees to a few parts in a million of values about 1.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def image(channels: int, height: int = 6, width: int = 5, batch: int = 2) -> Tensor:
    return structured_input((batch, channels, height, width), seed=4)
