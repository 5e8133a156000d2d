"""Gradient norms by depth, and the shortcuts that are cut for comparison."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgeconv import models
from edgeconv.models.gradient_flow import FlowGraph
from edgeconv.models.graph import TraceError
from edgeconv.models.layers.dense import DenseBlock
from edgeconv.models.layers.inception import Inception
from edgeconv.models.layers.preactivation import PreactBasicBlock
from edgeconv.models.layers.residual import BasicBlock
from edgeconv.models.layers.transposed import TransposedConv
from edgeconv.models.layers.unet import UNetSkip
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.models.resnet_cifar import CifarResNet


def image(channels: int, size: int = 8) -> Tensor:
    return structured_input((2, channels, size, size), seed=4)


def test_norms_and_depths_are_those_of_autograd() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    x = image(3)
    layers = FlowGraph(network, x).gradients(x, seed=7)
    direction = torch.randn(2, 2, generator=torch.Generator().manual_seed(7))
    network.zero_grad()
    (network(x) * direction).mean().backward()
    assert [(layer.name, layer.depth) for layer in layers] == [("0", 1), ("3", 2)]
    for layer, module in zip(layers, (network[0], network[3]), strict=True):
        assert module.weight.grad is not None
        assert layer.norm == pytest.approx(float(module.weight.grad.norm()), rel=1e-5)


@pytest.mark.parametrize(
    ("block", "shape"),
    [(BasicBlock(8, 8), (8,)), (BasicBlock(8, 12, 2), (8,)), (PreactBasicBlock(8, 8), (8,))],
)
def test_a_cut_addition_leaves_the_branch(block: nn.Module, shape: tuple[int, ...]) -> None:
    randomize_(block, shape=(*shape, 8, 8))
    x = image(*shape)
    graph = FlowGraph(block, x)
    (whole,) = graph.module(x)
    torch.testing.assert_close(whole, block(x))
    assert graph.remove_shortcuts() == 1
    (cut,) = graph.module(x)
    plain = isinstance(block, BasicBlock)
    expected = block.relu(block.branch(x)) if plain else block(x) - x
    torch.testing.assert_close(cut, expected, rtol=1e-4, atol=1e-5)


def test_a_cut_concatenation_carries_zeros() -> None:
    block = randomize_(DenseBlock(4, 3, 2), shape=(4, 8, 8))
    x = image(4)
    graph = FlowGraph(block, x)
    assert graph.remove_shortcuts() == 2
    (cut,) = graph.module(x)
    assert cut.shape == block(x).shape
    # The block's own input came by shortcuts alone; what its last layer adds is computed.
    assert torch.equal(cut[:, :7], torch.zeros_like(cut[:, :7]))
    assert (cut[:, 7:] != 0).any()


def test_the_skip_of_a_unet_is_a_shortcut() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(4, 8, 2, 2)
            self.up = UNetSkip(4, TransposedConv(8, 4))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.up(self.down(x), x)
            return y

    x = image(4)
    assert FlowGraph(randomize_(Small(), shape=(4, 8, 8)), x).remove_shortcuts() == 1


def test_a_cut_addition_to_every_position_keeps_the_shape() -> None:
    class Context(nn.Module):
        """A map plus what was computed from its mean, as in a global context block."""

        def __init__(self) -> None:
            super().__init__()
            self.mix, self.last = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(x + self.mix(x.mean(dim=(2, 3), keepdim=True)))
            return y

    network, x = Context(), image(4)
    graph = FlowGraph(network, x)
    assert graph.remove_shortcuts() == 1
    (cut,) = graph.module(x)
    context = network.mix(x.mean(dim=(2, 3), keepdim=True)).expand(2, 4, 8, 8)
    torch.testing.assert_close(cut, network.last(context))


def test_an_index_beside_the_result_has_no_loss() -> None:
    class Decided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.fc(x)
            return y, y.argmax(1)

    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    (layer,) = FlowGraph(Decided(), x).gradients(x)
    assert layer.norm > 0


def test_a_network_without_weights_has_no_gradients() -> None:
    assert FlowGraph(nn.ReLU(), image(3)).gradients(image(3)) == []


def test_parallel_branches_are_none() -> None:
    x = image(4)
    inception = randomize_(Inception(4, 4, 6, 8, 2, 3, 5), shape=(4, 8, 8))
    assert FlowGraph(inception, x).remove_shortcuts() == 0


@pytest.mark.slow
def test_shortcuts_keep_the_gradient_of_a_deep_network() -> None:
    torch.manual_seed(0)
    network, x = CifarResNet(9, 10, 3, 0.0), structured_input((4, 3, 8, 8))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    network.train()
    whole, plain = FlowGraph(network, x), FlowGraph(network, x)
    assert plain.remove_shortcuts() == 27
    spread = []
    for graph in (whole, plain):
        layers = graph.gradients(x)
        assert [layer.depth for layer in layers] == list(range(1, 57))
        norms = [layer.norm for layer in layers[:-1]]
        spread.append(max(norms) / min(norms))
    # Measured: about 15 with them, and 10,000 without: normalization makes gradients explode.
    assert spread[0] < 100
    assert spread[1] > 1000


@pytest.mark.slow
def test_deep_supervision_reaches_early_layers() -> None:
    torch.manual_seed(0)
    network = models.create_model("resnet_early_exit", num_classes=4).train()
    x = structured_input((2, 3, 64, 64))
    graph = FlowGraph(network, x)
    assert graph.deepest_output() == 2
    every, last = (graph.gradients(x, deepest_only=only) for only in (False, True))
    # Without their losses no gradient reaches the exits, which are on no other way.
    assert len(every) == len(last) + 2
    assert every[0].norm != last[0].norm
    # The last classifier reads the same features and gets the same direction.
    assert every[-1].norm == pytest.approx(last[-1].norm, rel=1e-4)


def test_what_cannot_be_traced_is_one_line() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(TraceError, match="Branching cannot be traced") as info:
        FlowGraph(Branching(), image(3))
    assert "\n" not in str(info.value)
