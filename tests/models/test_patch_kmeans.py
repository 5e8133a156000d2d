"""k-means over patches as the initializer of a first layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeconv.models.patch_kmeans import (
    draw_patches,
    initialize_kmeans_,
    kmeans,
    normalize_contrast,
    whiten,
)
from edgeconv.models.randomize import structured_input


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_patches_are_windows_of_the_images() -> None:
    images = structured_input((3, 2, 7, 6), seed=1)
    windows = images.unfold(2, 3, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
    patches = draw_patches(images, (3, 2), 200, generator())
    nearest = torch.cdist(patches, windows).argmin(dim=1)
    torch.testing.assert_close(windows[nearest], patches, rtol=0, atol=0)
    assert len(set(nearest.tolist())) > 60  # of 75: all images and places are drawn from


def test_whitened_patches_have_no_correlation() -> None:
    patches = normalize_contrast(
        draw_patches(structured_input((20, 3, 16, 16)), (4, 4), 5000, generator())
    )
    whitened = whiten(patches, 1e-6)(patches).double()
    values = torch.linalg.eigvalsh(torch.cov(whitened.T))
    # The mean of each patch was taken out: one direction is empty, all others have variance 1.
    assert values[0] < 1e-2
    torch.testing.assert_close(values[1:], torch.ones(47, dtype=torch.float64), rtol=0.02, atol=0)


def clusters(centers: Tensor, each: int = 200) -> Tensor:
    rows = centers.repeat_interleave(each, dim=0)
    return rows + 0.05 * torch.randn(rows.shape, generator=generator())


@pytest.mark.slow
def test_kmeans_finds_planted_clusters_as_scikit_learn_does() -> None:
    from sklearn.cluster import KMeans

    centers = 3 * torch.eye(4, 6)
    rows = clusters(centers)
    start = rows[torch.randperm(len(rows), generator=generator())[:4]]
    theirs = KMeans(4, init=start.numpy(), n_init=1, max_iter=20, tol=0).fit(rows.numpy())
    found = kmeans(rows, 4, generator())
    torch.testing.assert_close(
        found, torch.from_numpy(theirs.cluster_centers_), rtol=1e-4, atol=1e-4
    )


def test_an_empty_cluster_finds_a_new_place() -> None:
    rows = torch.tensor([[0.0], [0.0], [0.0], [5.0], [9.0]])
    found = kmeans(rows, 3, torch.Generator().manual_seed(3))
    assert torch.isfinite(found).all()
    assert sorted(found.flatten().tolist()) == [0.0, 5.0, 9.0]


def test_the_convolution_answers_with_whitened_patch_times_centroid() -> None:
    images = structured_input((20, 1, 12, 12), seed=2)
    conv = nn.Conv2d(1, 6, 4)
    initialize_kmeans_(conv, images, patches=2000)
    rows = normalize_contrast(draw_patches(images, (4, 4), 2000, generator()))
    whitening = whiten(rows, 0.1)
    # The same seed, so the same draws: patches first, then the centroids' start.
    again = generator()
    draw_patches(images, (4, 4), 2000, again)
    centroids = nn.functional.normalize(kmeans(whitening(rows), 6, again), dim=1)
    with torch.no_grad():
        got = conv(rows[:50].view(50, 1, 4, 4)).flatten(1)
    torch.testing.assert_close(got, whitening(rows[:50]) @ centroids.T, rtol=1e-4, atol=1e-4)


def test_kernels_of_striped_images_are_stripes() -> None:
    # Images with stripes along one axis only: what the layer learns varies along the other.
    stripes = structured_input((40, 1, 16, 1), seed=3).expand(40, 1, 16, 16)
    conv = nn.Conv2d(1, 8, 5, bias=False)
    initialize_kmeans_(conv, stripes, patches=2000)
    with torch.no_grad():
        along = conv.weight.var(dim=3).mean()
        across = conv.weight.var(dim=2).mean()
    assert across > 100 * along


def test_the_seed_decides() -> None:
    images = structured_input((10, 3, 12, 12))
    layers = [nn.Conv2d(3, 8, 3) for _ in range(3)]
    for layer, seed in zip(layers, (0, 0, 1), strict=True):
        initialize_kmeans_(layer, images, patches=500, seed=seed)
    assert torch.equal(layers[0].weight, layers[1].weight)
    assert not torch.equal(layers[0].weight, layers[2].weight)


@pytest.mark.parametrize(
    ("conv", "shape", "patches", "message"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), (2, 4, 8, 8), 100, "has groups"),
        (nn.Conv2d(3, 4, 3), (2, 1, 8, 8), 100, "must be Nx3xHxW for this layer, not 2x1x8x8"),
        (nn.Conv2d(3, 4, 3), (3, 8, 8), 100, "must be Nx3xHxW"),
        (nn.Conv2d(3, 4, 9), (2, 3, 8, 8), 100, "images of 8x8 hold no patch of 9x9"),
        (nn.Conv2d(1, 4, 3, dilation=2), (2, 1, 8, 8), 100, "is dilated"),
        (nn.Conv2d(1, 4, 1), (2, 1, 8, 8), 100, "single numbers"),
        (nn.Conv2d(1, 4, 3), (0, 1, 8, 8), 100, "one or more, of finite real numbers"),
        (nn.Conv2d(3, 64, 3), (2, 3, 8, 8), 50, "50 patches are too few for 64 kernels"),
    ],
)
def test_what_cannot_be_clustered_is_refused(
    conv: nn.Conv2d, shape: tuple[int, ...], patches: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        initialize_kmeans_(conv, torch.zeros(shape), patches=patches)


@pytest.mark.parametrize(
    "images", [torch.full((2, 1, 8, 8), torch.nan), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)]
)
def test_images_that_are_not_finite_reals_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="finite real numbers"):
        initialize_kmeans_(nn.Conv2d(1, 4, 3), images, patches=100)


def test_epsilon_must_be_positive() -> None:
    with pytest.raises(ValueError, match="epsilon must be positive, not 0"):
        initialize_kmeans_(nn.Conv2d(1, 4, 3), torch.zeros(2, 1, 8, 8), patches=100, epsilon=0)
