"""Training recipes of the benchmarks' networks: small widths, few epochs, one processor core."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from benchmarks.trained.shapes import CLASSES


class Data(str, Enum):
    """The data sets. MASKS has the images of SHAPES, labeled with the pixels of the figure."""

    DIGITS = "digits"
    SHAPES = "shapes"
    MASKS = "masks"


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    ``network`` is a name of the zoo and ``args`` has its options. ``rate`` is the highest learning
    rate of a one-cycle schedule.
    """

    network: str
    data: Data
    epochs: int
    args: dict[str, int | float] = field(default_factory=dict)
    rate: float = 5e-3

    @property
    def name(self) -> str:
        return f"{self.network}_{self.data.value}"

    @property
    def options(self) -> dict[str, int | float]:
        """All arguments of ``create_model``."""
        fixed: dict[Data, dict[str, int | float]] = {
            Data.DIGITS: {"num_classes": 10, "in_channels": 1, "input_size": 32},
            Data.SHAPES: {"num_classes": len(CLASSES), "input_size": 48},
            Data.MASKS: {"num_classes": 2, "input_size": 48},
        }
        return {**fixed[self.data], "dropout": 0.0, **self.args}


def _width(value: float) -> dict[str, int | float]:
    return {"width_mult": value}


_DIGITS = (
    Recipe("mobilenet_v1", Data.DIGITS, 24, _width(0.25)),
    Recipe("mobilenet_v2", Data.DIGITS, 24, _width(0.35)),
    Recipe("mobilenet_v3_small", Data.DIGITS, 24, _width(0.5)),
    Recipe("resnet8", Data.DIGITS, 16),
    Recipe("resnet18", Data.DIGITS, 5, rate=1e-3),
    Recipe("efficientnet_lite0", Data.DIGITS, 20, _width(0.35)),
    Recipe("shufflenet_v2_x1_0", Data.DIGITS, 16),
    Recipe("mobilenet_v2_early_exit", Data.DIGITS, 24, _width(0.35)),
)
_SHAPES = (
    Recipe("mobilenet_v1", Data.SHAPES, 18, _width(0.5)),
    Recipe("mobilenet_v2", Data.SHAPES, 16, _width(0.35)),
    Recipe("unet", Data.MASKS, 5, _width(0.125), rate=3e-3),
    Recipe("resnet8", Data.SHAPES, 8),
    Recipe("mobilenet_v3_small", Data.SHAPES, 20, _width(0.5)),
    Recipe("shufflenet_v2_x1_0", Data.SHAPES, 24),
    Recipe("efficientnet_lite0", Data.SHAPES, 12, _width(0.35)),
    Recipe("mobilenet_v2_early_exit", Data.SHAPES, 14, _width(0.35)),
    Recipe("resnet18", Data.SHAPES, 4, rate=1e-3),
)
RECIPES = (*_DIGITS, *_SHAPES)
