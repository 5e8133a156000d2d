"""The textbook comparison against real modules, and the rank of kernels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeconv.models.conv_cost import ConvKind, compare_convolutions, separable_ratio
from edgeconv.models.layers.channel_shuffle import channel_shuffle
from edgeconv.models.layers.depthwise import Depthwise
from edgeconv.models.layers.dilated import Dilated
from edgeconv.models.layers.pointwise import Pointwise
from edgeconv.models.layers.spatially_separable import SpatiallySeparable
from edgeconv.models.separability import energy_by_rank, is_spatially_separable, separate


def kinds(c: int, m: int, k: int, groups: int = 2) -> dict[str, ConvKind]:
    return {kind.name: kind for kind in compare_convolutions(c, m, k, groups=groups)}


def test_the_textbooks_numbers() -> None:
    large, small = kinds(32, 64, 3), kinds(16, 32, 3)
    assert large["standard"].parameters == 18_432
    assert large["depthwise"].parameters == 288
    assert large["pointwise"].parameters == 2_048
    assert large["depthwise separable"].parameters == 2_336
    assert small["standard"].parameters == 4_608
    assert small["depthwise separable"].parameters == 656
    assert large["dilated by 2"].reach == 5
    assert large["standard"].macs(56 * 56) == 57_802_752


def weights(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


class RankOne(nn.Module):
    """A standard convolution whose kernels are all of rank one: 2 k weights for each of C M."""

    def __init__(self, c: int, m: int, k: int) -> None:
        super().__init__()
        self.c = c
        self.column = nn.Conv2d(c, c * m, (k, 1), padding=(k // 2, 0), groups=c, bias=False)
        self.row = nn.Conv2d(c * m, m, (1, k), padding=(0, k // 2), groups=m, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.row(channel_shuffle(self.column(x), self.c))
        return y

    def weight(self) -> Tensor:
        m, c = self.row.weight.shape[:2]
        column = self.column.weight.view(c, m, -1, 1).transpose(0, 1)
        return column * self.row.weight.view(m, c, 1, -1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 5]), st.integers(1, 4))
def test_the_counts_are_those_of_real_modules(c: int, m: int, k: int, groups: int) -> None:
    c, m = c * groups, m * groups
    table = {kind.name: kind.parameters for kind in compare_convolutions(c, m, k, groups=groups)}
    depthwise, pointwise = Depthwise(c, k), Pointwise(c, m)
    grouped = nn.Conv2d(c, m, k, groups=groups, bias=False)
    assert table == {
        "standard": weights(nn.Conv2d(c, m, k, bias=False)),
        "depthwise": weights(depthwise),
        "pointwise": weights(pointwise),
        "depthwise separable": weights(depthwise, pointwise),
        "spatially separable": weights(RankOne(c, m, k)),
        "k x 1, then 1 x k": weights(SpatiallySeparable(c, m, k)),
        f"grouped, {groups} groups": weights(grouped),
        "dilated by 2": weights(Dilated(c, m, k, dilation=2)),
    }


def test_rank_one_kernels_make_a_standard_convolution() -> None:
    torch.manual_seed(0)
    pair, x = RankOne(3, 4, 3), torch.randn(2, 3, 9, 8)
    weight = pair.weight()
    assert is_spatially_separable(weight)
    standard = nn.functional.conv2d(x, weight, padding=1)
    torch.testing.assert_close(pair(x), standard, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("m", "k"), [(64, 3), (32, 5)])
def test_the_ratio_of_the_paper(m: int, k: int) -> None:
    table = kinds(32, m, k)
    ratio = table["depthwise separable"].parameters / table["standard"].parameters
    assert ratio == pytest.approx(separable_ratio(m, k))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((3, 4, 3), "3 groups do not divide 3 and 4 channels"), ((0, 4, 3), "must be positive")],
)
def test_impossible_sizes_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_convolutions(*arguments, groups=3)


def test_an_image_has_no_row_of_two_groups() -> None:
    names = [kind.name for kind in compare_convolutions(3, 16, 3)]
    assert "grouped, 2 groups" not in names
    assert "grouped, 2 groups" in [kind.name for kind in compare_convolutions(4, 16, 3)]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(1, 5), st.integers(0, 2**31 - 1))
def test_energy_rises_to_one_at_the_rank(k: int, rank: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rank = min(rank, k)
    # Orthogonal factors with singular values rank, rank - 1, ..., 1: the energies are known.
    u, _ = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
    values = torch.arange(rank, 0, -1, dtype=torch.float64)
    weight = (u[:, :rank] * values) @ v[:, :rank].T
    energy = energy_by_rank(weight)
    squares = values.square()
    torch.testing.assert_close(energy[:rank], squares.cumsum(0) / squares.sum())
    assert is_spatially_separable(weight) == (rank == 1)


def test_known_kernels() -> None:
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    laplace = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert is_spatially_separable(sobel)
    assert not is_spatially_separable(laplace)
    assert is_spatially_separable(torch.zeros(2, 3, 3))
    assert not is_spatially_separable(torch.stack([sobel, laplace]))
    column, row = separate(sobel)
    torch.testing.assert_close(column * row, sobel, rtol=1e-5, atol=1e-6)


def test_tolerance_is_a_share_of_energy() -> None:
    weight = torch.diag(torch.tensor([1.0, 0.1]))  # keeps 1 / 1.01 of its energy at rank one
    assert not is_spatially_separable(weight, tolerance=0.005)
    assert is_spatially_separable(weight, tolerance=0.01)
