"""A first layer from the images themselves: k-means over whitened patches.

Coates et al. 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning"
(AISTATS): the centroids of patches look like edges and blobs, without any label or gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_CONTRAST = 0.01  # added to a patch's variance; images have a variance of about one
_ITERATIONS = 20


@dataclass(frozen=True)
class Whitening:
    """A linear map after which patches have no correlation (ZCA): (x - mean) matrix."""

    mean: Tensor
    matrix: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the whitened rows of (n, d)."""
        return (x - self.mean) @ self.matrix


def initialize_kmeans_(
    conv: nn.Conv2d, images: Tensor, *, patches: int = 20_000, epsilon: float = 0.1, seed: int = 0
) -> None:
    """Give a first layer the M centroids of random patches of ``images`` as kernels, in place.

    Patches are normalized for contrast, whitened (``epsilon`` is added to the covariance's
    eigenvalues) and clustered. A kernel is its centroid of length 1 seen through the whitening, so
    the convolution of an image is the whitened patch times the centroid; a bias, if there is one,
    subtracts the mean patch.

    Args:
        conv: A convolution without groups or dilation.
        images: (N, C, H, W) of about zero mean and unit variance, as the network will read them.
        patches: How many patches to draw, at least one for each kernel.
        epsilon: Above zero; more of it leaves more of the correlation, and less of the noise.
        seed: The same seed draws the same patches.

    Raises:
        ValueError: The convolution has groups or a dilation or reads single numbers, the images are
            not its input, too small or not finite, ``epsilon`` is not positive, or there are fewer
            patches than kernels.
    """
    _check(conv, images, patches)
    if not epsilon > 0:
        raise ValueError(f"epsilon must be positive, not {epsilon:g}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = normalize_contrast(draw_patches(images, conv.kernel_size, patches, generator))
        whitening = whiten(rows, epsilon)
        centroids = kmeans(whitening(rows), conv.out_channels, generator)
        kernels = functional.normalize(centroids, dim=1) @ whitening.matrix
        conv.weight.copy_(kernels.view_as(conv.weight))
        if conv.bias is not None:
            conv.bias.copy_(-kernels @ whitening.mean)


def draw_patches(
    images: Tensor, size: tuple[int, ...], count: int, generator: torch.Generator
) -> Tensor:
    """Return (count, C kh kw) patches at random places of random images."""
    batch, _, height, width = images.shape
    limits = (batch, height - size[0] + 1, width - size[1] + 1)
    which, top, left = (torch.randint(limit, (count,), generator=generator) for limit in limits)
    rows = (top[:, None] + torch.arange(size[0]))[:, :, None]
    columns = (left[:, None] + torch.arange(size[1]))[:, None, :]
    # (count, kh, kw, C): the indices come first, the channels last.
    found = images[which[:, None, None], :, rows, columns]
    return found.permute(0, 3, 1, 2).flatten(1)


def normalize_contrast(rows: Tensor) -> Tensor:
    """Take the mean out of every patch and scale it to unit variance; flat ones stay small."""
    centered = rows - rows.mean(dim=1, keepdim=True)
    return centered / (centered.square().mean(dim=1, keepdim=True) + _CONTRAST).sqrt()


def whiten(rows: Tensor, epsilon: float) -> Whitening:
    """Return the ZCA whitening of (n, d) rows: V (D + epsilon)^-1/2 V^T of their covariance."""
    mean = rows.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T.double()))
    scale = (values.clamp(min=0) + epsilon).rsqrt()
    return Whitening(mean, ((vectors * scale) @ vectors.T).to(rows.dtype))


def kmeans(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, d) centroids by Lloyd's algorithm; an empty cluster moves to a random row."""
    centroids = rows[torch.randperm(len(rows), generator=generator)[:count]]
    for _ in range(_ITERATIONS):
        nearest = torch.cdist(rows, centroids).argmin(dim=1)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, rows)
        members = torch.bincount(nearest, minlength=count)
        spare = rows[torch.randint(len(rows), (count,), generator=generator)]
        means = sums / members.clamp(min=1)[:, None]
        centroids = torch.where(members[:, None] > 0, means, spare)
    return centroids


def _check(conv: nn.Conv2d, images: Tensor, patches: int) -> None:
    if conv.groups != 1:
        raise ValueError("the convolution has groups; a first layer of centroids has none")
    if any(step != 1 for step in conv.dilation):
        raise ValueError("the convolution is dilated, and patches have no holes")
    if math.prod(conv.weight.shape[1:]) < 2:
        raise ValueError("the convolution reads single numbers, which have no contrast")
    if images.ndim != 4 or images.shape[1] != conv.in_channels:
        shape = "x".join(map(str, images.shape))
        raise ValueError(f"images must be Nx{conv.in_channels}xHxW for this layer, not {shape}")
    if not (images.is_floating_point() and len(images) and images.isfinite().all()):
        raise ValueError("images must be one or more, of finite real numbers")
    if any(n < k for n, k in zip(images.shape[2:], conv.kernel_size, strict=True)):
        size, kernel = ("x".join(map(str, s)) for s in (images.shape[2:], conv.kernel_size))
        raise ValueError(f"images of {size} hold no patch of {kernel}")
    if patches < conv.out_channels:
        raise ValueError(f"{patches} patches are too few for {conv.out_channels} kernels")
