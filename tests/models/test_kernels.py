"""Kernels that are not learned: Gaussian, Sobel, oriented edges, Gabor."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeconv.models.cost import network_cost
from edgeconv.models.kernels import gabor_bank, gaussian, oriented_edges, sobel
from edgeconv.models.layers.fixed import FixedConv, SeparableFixedConv
from edgeconv.models.separability import energy_by_rank, is_spatially_separable
from support.layers import CLOSE, image


@pytest.mark.parametrize("kind", [FixedConv, SeparableFixedConv])
def test_fixed_kernels_are_a_stack_of_squares_for_their_channels(
    kind: type[FixedConv] | type[SeparableFixedConv],
) -> None:
    for kernels in (gaussian(3, 1), torch.ones(2, 3, 5)):
        with pytest.raises(ValueError, match=r"must be \(n, k, k\), not"):
            kind(3, kernels)
    with pytest.raises(RuntimeError, match="channels"):
        kind(3, sobel())(image(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian(0, 1), "side of the kernel must be 1 or more, not 0"),
        (lambda: gaussian(3, 0), "sigma must be positive, not 0"),
        (lambda: oriented_edges(1, 1, 4), "must be 2 or more"),
        (lambda: oriented_edges(5, 1, 0), "orientations must be positive"),
        (lambda: oriented_edges(5, 0.01, 2), "sigma 0.01 is too narrow"),
        (lambda: gabor_bank(5, 2, -4, 2), "wavelength must be positive, not -4"),
        (lambda: gabor_bank(5, 2, 4, 2, aspect=float("nan")), "aspect must be positive, not nan"),
        # cos(2 pi x) is 1 at every pixel; a sine of 2 pixels is 0; one pixel has no wave.
        (lambda: gabor_bank(5, 1, 1, 2), "a wave of 1 pixels is flat on a 5x5"),
        (lambda: gabor_bank(5, 1, 2, 2, phase=math.pi / 2), "a wave of 2 pixels is flat"),
        (lambda: gabor_bank(1, 4, 4, 2), "a wave of 4 pixels is flat on a 1x1"),
    ],
)
def test_what_no_kernel_can_be_made_of_is_refused(make: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_narrow_gaussian_is_its_middle() -> None:
    torch.testing.assert_close(gaussian(3, 1e-3), torch.eye(3)[:, [1]] @ torch.eye(3)[[1]])
    torch.testing.assert_close(gaussian(2, 1e-3), torch.full((2, 2), 0.25))


def test_the_gaussian_is_scipys() -> None:
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros((9, 9))
    impulse[4, 4] = 1
    expected = gaussian_filter(impulse, 1.3, radius=4)
    np.testing.assert_allclose(gaussian(9, 1.3).numpy(), expected, atol=1e-7)


def test_sobel_is_scipys() -> None:
    from scipy import ndimage

    x = image(1, 7, 7, batch=1)
    got = FixedConv(1, sobel())(x)[0].numpy()
    plain = x[0, 0].numpy()
    for index, axis in enumerate((1, 0)):
        np.testing.assert_allclose(
            got[index], ndimage.sobel(plain, axis=axis, mode="constant"), atol=1e-5
        )


def test_which_designed_kernels_are_separable() -> None:
    assert is_spatially_separable(gaussian(7, 1.5))
    assert is_spatially_separable(sobel())
    edges = oriented_edges(7, 1.5, 4)
    assert [is_spatially_separable(kernel) for kernel in edges] == [True, False, True, False]
    # All of them are sums of the same two separable ones: rank two at most.
    assert (energy_by_rank(edges)[:, 1] > 1 - 1e-9).all()
    bank = gabor_bank(9, 4, wavelength=4, sigma=2, phase=math.pi / 2)
    assert [is_spatially_separable(kernel) for kernel in bank] == [True, False, True, False]
    # With a round envelope, cos(a x + b y) is cos cos - sin sin: two products.
    assert (energy_by_rank(bank)[:, 1] > 1 - 1e-9).all()
    stretched = gabor_bank(9, 4, wavelength=4, sigma=2, aspect=0.5)
    assert energy_by_rank(stretched)[1, 1] < 1 - 1e-3


def test_oriented_edges_measure_slopes() -> None:
    y, x = torch.meshgrid(torch.arange(7.0) - 3, torch.arange(7.0) - 3, indexing="ij")
    edges = oriented_edges(7, 1.5, 4)
    for kernel, angle in zip(edges, (0, 45, 90, 135), strict=True):
        radians = math.radians(angle)
        along = math.cos(radians) * x + math.sin(radians) * y
        across = math.cos(radians) * y - math.sin(radians) * x
        assert (kernel * along).sum().item() == pytest.approx(1, abs=1e-5)
        assert (kernel * across).sum().item() == pytest.approx(0, abs=1e-5)


def test_a_gabor_kernel_by_its_formula() -> None:
    kernel = gabor_bank(5, 6, wavelength=3, sigma=1.2, aspect=0.7, phase=0.4)[2]
    expected, envelope = np.zeros((5, 5)), np.zeros((5, 5))
    for row in range(5):
        for column in range(5):
            x, y, angle = column - 2, row - 2, math.pi / 3
            u = x * math.cos(angle) + y * math.sin(angle)
            v = -x * math.sin(angle) + y * math.cos(angle)
            envelope[row, column] = math.exp(-(u**2 + (0.7 * v) ** 2) / (2 * 1.2**2))
            expected[row, column] = envelope[row, column] * math.cos(2 * math.pi * u / 3 + 0.4)
    expected -= envelope * expected.sum() / envelope.sum()
    np.testing.assert_allclose(kernel.numpy(), expected / np.linalg.norm(expected), atol=1e-6)


def test_a_gabor_bank_names_the_direction_of_a_grating() -> None:
    bank = gabor_bank(11, 4, wavelength=5, sigma=2.5)
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    for index, angle in enumerate((0, 45, 90, 135)):
        radians = math.radians(angle)
        grating = torch.cos(2 * math.pi / 5 * (x * math.cos(radians) + y * math.sin(radians)))
        energy = FixedConv(1, bank)(grating[None, None])[0, :, 8:-8, 8:-8].square().mean((1, 2))
        assert energy.argmax() == index
    flat = FixedConv(1, bank)(torch.ones(1, 1, 40, 40))[0, :, 8:-8, 8:-8]
    assert flat.abs().max() < 1e-5


def test_two_passes_do_what_separable_kernels_do() -> None:
    x = image(3, 9, 8)
    for kernels in (sobel(), gaussian(5, 1.1)[None]):
        both = [build(3, kernels)(x) for build in (FixedConv, SeparableFixedConv)]
        torch.testing.assert_close(both[1], both[0], **CLOSE)
    with pytest.raises(ValueError, match="rank above one"):
        SeparableFixedConv(3, oriented_edges(5, 1, 3))


def test_fixed_kernels_are_bytes_but_no_parameters() -> None:
    (row,) = network_cost(FixedConv(3, sobel()), (3, 8, 8)).layers
    assert (row.parameters, row.weight_bytes) == (0, 4 * 3 * 2 * 9)
