"""Kernels that are not learned: Gaussian, Sobel, oriented edges, Gabor.

All are float32 tensors of (..., k, k), written as a convolution layer applies them (no flip).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Less of a wave than this is rounding of float32.
_FLAT = 1e-4


def gaussian(kernel_size: int, sigma: float) -> Tensor:
    """Return the (k, k) Gaussian of sum 1: the blur that is both round and separable."""
    _check_sizes(kernel_size, 1, sigma=sigma)
    squares = _offsets(kernel_size) ** 2
    # Less the smallest, which changes nothing but that the sum is never 0.
    profile = torch.exp((squares.min() - squares) / (2 * sigma**2))
    profile = profile / profile.sum()
    return torch.outer(profile, profile)


def sobel() -> Tensor:
    """Return (2, 3, 3): the derivative along x, then along y.

    Each is a smoothing [1 2 1] across a difference [-1 0 1], so each is separable (Sobel and
    Feldman 1968).
    """
    smooth, difference = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    return torch.stack((torch.outer(smooth, difference), torch.outer(difference, smooth)))


def oriented_edges(kernel_size: int, sigma: float, orientations: int) -> Tensor:
    """Return (n, k, k): the Gaussian's derivative along n directions from 0 to 180 degrees.

    Every one is cos(angle) times the derivative along x plus sin(angle) times that along y: two
    separable filters make all orientations, and only the two along the axes are separable
    themselves. Scaled so that a ramp of slope 1 along the direction answers 1. Freeman and Adelson
    1991, "The Design and Use of Steerable Filters" (PAMI).
    """
    _check_sizes(kernel_size, 2, sigma=sigma, orientations=orientations)
    offsets = _offsets(kernel_size)
    along_x = gaussian(kernel_size, sigma) * offsets
    slope = (along_x * offsets).sum()
    if not slope > 0:
        raise ValueError(f"sigma {sigma:g} is too narrow to reach a neighbor")
    along_x = along_x / slope
    angles = _angles(orientations)[:, None, None]
    return angles.cos() * along_x + angles.sin() * along_x.T


def gabor_bank(
    kernel_size: int,
    orientations: int,
    wavelength: float,
    sigma: float,
    *,
    aspect: float = 1.0,
    phase: float = 0.0,
) -> Tensor:
    """Return (n, k, k): waves of ``wavelength`` pixels under a Gaussian, in n directions.

    cos(2 pi u / wavelength + phase) exp(-(u² + aspect² v²) / (2 sigma²)), u along the direction and
    v across it, less its mean, so that a flat image answers zero; length 1. Phase 0 finds bars,
    pi / 2 edges. First layers learn such kernels, and so does the visual cortex. Gabor 1946;
    Daugman 1985 (JOSA A 2, 1160).
    """
    _check_sizes(
        kernel_size, 1, sigma=sigma, orientations=orientations, wavelength=wavelength, aspect=aspect
    )
    offsets = _offsets(kernel_size)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    angles = _angles(orientations)[:, None, None]
    u = x * angles.cos() + y * angles.sin()
    v = y * angles.cos() - x * angles.sin()
    envelope = torch.exp(-(u**2 + (aspect * v) ** 2) / (2 * sigma**2))
    wave = torch.cos(2 * math.pi * u / wavelength + phase)
    # The mean is taken out in the envelope's own shape, so that the kernel still ends softly.
    bank = envelope * (wave - _mean(envelope * wave) / _mean(envelope))
    length = bank.square().sum(dim=(1, 2), keepdim=True).sqrt()
    if not (length > _FLAT * envelope.square().sum(dim=(1, 2), keepdim=True).sqrt()).all():
        raise ValueError(
            f"a wave of {wavelength:g} pixels is flat on a {kernel_size}x{kernel_size}"
        )
    return bank / length


def _check_sizes(kernel_size: int, least: int, **sizes: float) -> None:
    """Refuse what no kernel can be made of, which would otherwise be NaN."""
    if kernel_size < least:
        raise ValueError(f"the side of the kernel must be {least} or more, not {kernel_size}")
    for name, size in sizes.items():
        if not size > 0:
            raise ValueError(f"{name} must be positive, not {size:g}")


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(1, 2), keepdim=True)


def _offsets(kernel_size: int) -> Tensor:
    """Return the distances from the kernel's center, in pixels."""
    return torch.arange(kernel_size) - (kernel_size - 1) / 2


def _angles(count: int) -> Tensor:
    return torch.arange(count) * (math.pi / count)
