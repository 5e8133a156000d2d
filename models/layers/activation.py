"""Activation functions, each made by a factory. All work in place."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Activation = Callable[[], nn.Module]


def relu() -> nn.Module:
    """Return ReLU: max(x, 0)."""
    return nn.ReLU(inplace=True)


def relu6() -> nn.Module:
    """Return ReLU6, min(max(x, 0), 6): a bounded range costs fewer bits (Krizhevsky 2010)."""
    return nn.ReLU6(inplace=True)


def silu() -> nn.Module:
    """Return SiLU or swish, x sigmoid(x) (Ramachandran et al. 2017, arXiv:1710.05941)."""
    return nn.SiLU(inplace=True)


def hard_swish() -> nn.Module:
    """Return hard swish, x relu6(x + 3) / 6: swish without an exponential.

    Howard et al. 2019, "Searching for MobileNetV3" (arXiv:1905.02244).
    """
    return nn.Hardswish(inplace=True)
