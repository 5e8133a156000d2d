"""The UCI handwritten digits (real scans, 8×8, 10 classes) that scikit-learn carries.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

Array = npt.NDArray[np.float32]

MAX_INK = 16.0  # the scans count ink in 4×4 blocks, 0 to 16


@dataclass(frozen=True)
class Split:
    """Images [N, 1, size, size] in [-1, 1] and their classes [N]."""

    x: Array
    y: npt.NDArray[np.int64]

    def save(self, path: Path) -> Path:
        np.savez(path, x=self.x, y=self.y)
        return path


def load(size: int) -> tuple[Split, Split]:
    """Return training and held-out digits, three to one, enlarged to ``size`` pixels per side."""
    digits = load_digits()
    scans = torch.from_numpy(digits.images).float()[:, None] / (MAX_INK / 2) - 1
    images = functional.interpolate(scans, size=(size, size), mode="bilinear")
    x_train, x_test, y_train, y_test = train_test_split(
        images.numpy(),
        digits.target.astype(np.int64),
        test_size=0.25,
        random_state=0,
        stratify=digits.target,
    )
    return Split(x_train, y_train), Split(x_test, y_test)
