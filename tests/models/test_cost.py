"""Costs against formulas, counts of real modules, and receptive fields against gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv import models
from edgeconv.models.cost import network_cost
from edgeconv.models.graph import TraceError

pytestmark = pytest.mark.slow


def test_one_convolution_by_hand() -> None:
    cost = network_cost(nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 16, 16))
    (layer,) = cost.layers
    assert layer.operator == "conv 3x3"
    assert layer.parameters == 3 * 8 * 9 + 8
    assert layer.macs == 8 * 8 * 8 * 27
    assert layer.activation_bytes == 4 * (3 * 16 * 16 + 8 * 8 * 8)
    assert layer.weight_bytes == 4 * layer.parameters
    assert cost.peak_bytes == layer.activation_bytes
    assert layer.intensity == layer.macs / (layer.weight_bytes + layer.activation_bytes)


def test_int8_needs_a_quarter() -> None:
    network = models.create_model("resnet8")
    float32 = network_cost(network, (3, 32, 32))
    int8 = network_cost(network, (3, 32, 32), bytes_per_value=1)
    assert float32.peak_bytes == 4 * int8.peak_bytes
    assert float32.activation_bytes == 4 * int8.activation_bytes


def test_folded_layers_are_one_row() -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Hardswish())
    rows = network_cost(block, (3, 8, 8)).layers
    assert [row.operator for row in rows] == ["conv 3x3", "hardswish"]
    assert rows[0].parameters == 3 * 4 * 9 + 4 + 8


def test_a_batch_norm_before_a_convolution_does_not_fold() -> None:
    block = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3))
    operators = [row.operator for row in network_cost(block, (3, 8, 8)).layers]
    assert operators == ["batch_norm", "relu", "conv 3x3"]


def test_a_map_that_is_read_twice_is_kept_unfolded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y + torch.relu(y)

    rows = network_cost(Twice(), (2, 4, 4)).layers
    assert [row.operator for row in rows] == ["conv 1x1", "relu", "add"]


def test_peak_counts_the_shortcut() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(self.a(x))

    one_map = 4 * 2 * 8 * 8
    # While b runs: the input waits for the addition, a's output is read, b's is written.
    assert network_cost(Residual(), (2, 8, 8)).peak_bytes == 3 * one_map


def test_a_shared_layer_has_its_parameters_once() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=1)
    cost = network_cost(nn.Sequential(conv, conv), (4, 8, 8))
    assert cost.parameters == sum(row.parameters for row in cost.layers) == 4 * 4 * 9 + 4
    assert cost.macs == 2 * 4 * 4 * 9 * 64


def test_matrix_products_count() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)

    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.attention(x, x, x, need_weights=False)[0]
            return out

    # Four projections of 5 x 8 x 8, and two products of 5 x 5 x 8 over the heads.
    assert network_cost(Attend(), (5, 8)).macs == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8


def test_savings_are_those_of_the_rebuilt_network() -> None:
    def network(separable: bool) -> nn.Module:
        def conv(c: int, m: int, stride: int) -> list[nn.Module]:
            if not separable:
                return [nn.Conv2d(c, m, 3, stride, 1, bias=False)]
            depthwise = nn.Conv2d(c, c, 3, stride, 1, groups=c, bias=False)
            return [depthwise, nn.Conv2d(c, m, 1, bias=False)]

        return nn.Sequential(*conv(3, 16, 2), *conv(16, 32, 1), nn.Conv2d(32, 8, 1))

    savings = network_cost(network(separable=False), (3, 32, 32)).separable_savings()
    rebuilt = network_cost(network(separable=True), (3, 32, 32))
    assert savings.replaced == 2
    assert (savings.parameters_after, savings.macs_after) == (rebuilt.parameters, rebuilt.macs)


def test_the_module_is_left_as_it_was() -> None:
    network = models.create_model("resnet8").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network_cost(network, (3, 32, 32))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_an_impossible_input_is_one_line() -> None:
    with pytest.raises(TraceError, match="Conv2d cannot be traced on an input of 1x4x8x8") as info:
        network_cost(nn.Conv2d(3, 8, 3), (4, 8, 8))
    assert "\n" not in str(info.value)


def _layer(draw: st.DrawFn) -> nn.Module:
    """A layer along one axis, the width; the height stays 1."""
    kind = draw(st.sampled_from(["conv", "pool", "transposed", "nearest", "bilinear"]))
    k, stride = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    if kind == "pool":
        return nn.AvgPool2d((1, k), (1, stride))
    if kind in ("nearest", "bilinear"):
        return nn.Upsample(scale_factor=(1, 2), mode=kind)
    layer = (
        nn.Conv2d(1, 1, (1, k), (1, stride), dilation=(1, draw(st.integers(1, 3))))
        if kind == "conv"
        else nn.ConvTranspose2d(1, 1, (1, k * stride), (1, stride))
    )
    nn.init.ones_(layer.weight)
    return layer


@st.composite
def chains(draw: st.DrawFn) -> nn.Sequential:
    return nn.Sequential(*(_layer(draw) for _ in range(draw(st.integers(1, 4)))))


def _upsampled_and_strided() -> nn.Sequential:
    """Only every other position of the inner map sees two pixels, and the stride skips those."""
    chain = nn.Sequential(
        nn.ConvTranspose2d(1, 1, (1, 2), (1, 2)),
        nn.Conv2d(1, 1, (1, 2)),
        nn.Conv2d(1, 1, (1, 1), (1, 2)),
    )
    for layer in chain:
        nn.init.ones_(layer.weight)
    return chain


@settings(max_examples=40, deadline=None)
@given(chains())
@example(_upsampled_and_strided())
@example(nn.Sequential(*(nn.AvgPool2d((1, 1), (1, 2)) for _ in range(4))))
def test_receptive_fields_are_what_gradients_reach(chain: nn.Sequential) -> None:
    # All weights are positive, so every path from an input pixel to the output shows. Four strides
    # leave 23 outputs of 512 pixels at least.
    size = 512
    x = torch.ones(1, 1, 1, size, requires_grad=True)
    y = chain(x)
    field = network_cost(chain, (1, 1, size)).receptive_field
    middle = y.shape[-1] // 2
    widths = []
    # Neighboring outputs may sit on different phases of an upsampling; the widest counts.
    for offset in range(-8, 8):
        (gradient,) = torch.autograd.grad(y[0, 0, 0, middle + offset], x, retain_graph=True)
        reached = gradient.flatten().nonzero()
        widths.append(int(reached.max() - reached.min()) + 1)
    assert max(widths) == field


def test_a_stride_may_skip_the_wide_positions_of_an_upsampling() -> None:
    cost = network_cost(_upsampled_and_strided(), (1, 1, 160))
    assert [layer.receptive_field for layer in cost.layers] == [1, 2, 1]
    assert cost.receptive_field == 1


def test_the_last_map_of_a_residual_network_is_the_sum() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow = nn.Conv2d(1, 1, 5, padding=2), nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            total: torch.Tensor = (self.wide(x) + self.narrow(x)).mean((2, 3))
            return total

    assert network_cost(Residual(), (1, 16, 16)).receptive_field == 5


@pytest.mark.parametrize("name", ["resnet8", "espcn", "ds_cnn"])
def test_receptive_fields_of_networks_are_what_gradients_reach(name: str) -> None:
    network = models.create_model(name)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.01)
            nn.init.zeros_(module.bias) if module.bias is not None else None
    maps: list[torch.Tensor] = []
    last = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    deepest = last[-2] if name == "resnet8" else last[-1]  # its very last one is a shortcut's
    deepest.register_forward_hook(lambda _module, _args, out: maps.append(out))
    x = torch.ones(1, models.input_shape(name)[0], 96, 96, requires_grad=True)
    network(x)
    middle = maps[0].shape[-2] // 2
    maps[0][0, 0, middle, maps[0].shape[-1] // 2].backward()
    assert x.grad is not None
    rows = x.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == models.model_info(name).receptive_field
