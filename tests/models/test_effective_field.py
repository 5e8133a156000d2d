"""The measured receptive field beside the theoretical one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeconv import models
from edgeconv.models.cost import network_cost
from edgeconv.models.effective_field import MeasuredField, measure_field


def inside(field: MeasuredField) -> Tensor:
    """A mask of the theoretical field, where it lies in the image."""
    mask = torch.zeros_like(field.contributions, dtype=torch.bool)
    sizes = field.contributions.shape
    ranges = [
        slice(max(first, 0), min(last, size - 1) + 1)
        for (first, last), size in zip(field.theoretical, sizes, strict=True)
    ]
    mask[tuple(ranges)] = True
    return mask


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (4, 2)])
def test_all_of_the_field_is_reached_and_nothing_else(kernel: int, stride: int) -> None:
    chain = nn.Sequential(nn.Conv2d(1, 2, kernel, stride), nn.Conv2d(2, 1, 3, dilation=2))
    for layer in chain:
        nn.init.ones_(layer.weight)
    field = measure_field(chain, (1, 33, 30))
    assert torch.equal(field.contributions > 0, inside(field))
    side = network_cost(chain, (1, 33, 30)).receptive_field
    assert field.theoretical_sides == (side, side)


def test_contributions_are_gradients_of_random_sums_of_channels() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(3, 4, 3)
    field = measure_field(nn.Sequential(first, nn.ReLU(), second), (2, 15, 13))
    # The maps are 8x7 and 6x5: the center is (3, 2).
    assert (field.layer, field.unit) == ("2", (3, 2))
    assert field.theoretical == ((5, 11), (3, 9))
    generator, total = torch.Generator().manual_seed(0), torch.zeros(15, 13)
    for _ in range(8):
        x = torch.randn(1, 2, 15, 13, generator=generator)
        hidden = first(x)
        weights = torch.randn(4, generator=generator)
        # By hand: the second layer's kernel where the ReLU lets through, then the first one's.
        seen = torch.zeros(1, 3, 8, 7)
        seen[0, :, 3:6, 2:5] = torch.einsum("m,mcij->cij", weights, second.weight.detach())
        back = nn.functional.conv_transpose2d(
            seen * (hidden > 0), first.weight.detach(), stride=2, padding=1
        )
        total += back[0].abs().sum(0)
    torch.testing.assert_close(field.contributions, total / total.max(), rtol=1e-4, atol=1e-6)


def test_the_middle_counts_most() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1 if i == 0 else 4, 4, 3, padding=1) for i in range(12)]
    field = measure_field(nn.Sequential(*layers), (1, 41, 41))
    assert field.theoretical_sides == (25, 25)
    # Luo et al.: a bell whose width grows with the root of the depth, sqrt(12 * 2/3) = 2.8 here;
    # 4.55 % are left 2.5 of these from the middle, so about 14 pixels a side.
    assert 10 < field.measured_side < 18
    pixels = torch.arange(41.0)
    for axis in (0, 1):
        share = field.contributions.sum(dim=1 - axis)
        middle = float((share * pixels).sum() / share.sum())
        assert middle == pytest.approx(20, abs=1)


def test_a_slice_shifts_the_field() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)[:, :, 3::2, -8:]
            return y

    field = measure_field(Shifted(), (1, 20, 20))
    assert torch.equal(field.contributions > 0, inside(field))


@pytest.mark.parametrize("name", ["ds_cnn", "wavenet_kws", "ds_tcn"])
@pytest.mark.slow
def test_the_field_of_a_network_holds_what_it_reads(name: str) -> None:
    torch.manual_seed(0)
    field = measure_field(models.create_model(name), models.input_shape(name))
    assert max(field.theoretical_sides) == models.model_info(name).receptive_field
    assert (field.contributions[~inside(field)] == 0).all()


@pytest.mark.parametrize(
    ("network", "shape", "message"),
    [
        (nn.Linear(8, 2), (8,), "no feature map with positions"),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.Threshold(1e9, 0.0)), (1, 8, 8), "is silent"),
    ],
)
def test_what_sees_nothing_is_refused(
    network: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        measure_field(network, shape)


@pytest.mark.parametrize(("size", "cut_off"), [(5, True), (30, False)])
def test_an_image_that_ends_too_soon_is_noticed(size: int, cut_off: bool) -> None:
    conv = nn.Conv2d(1, 1, 7, padding=3)
    nn.init.ones_(conv.weight)
    assert measure_field(conv, (1, size, size)).is_cut_off == cut_off


def test_the_network_is_left_in_its_mode() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3)).train()
    measure_field(network, (1, 8, 8))
    assert network.training
