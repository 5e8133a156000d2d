"""Composite layers against the same arithmetic written out with PyTorch's functions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import conv1d, conv2d, relu

from edgeconv.models.layers.aspp import ASPP
from edgeconv.models.layers.auxiliary_head import AuxiliaryHead
from edgeconv.models.layers.channel_shuffle import GroupedShuffle
from edgeconv.models.layers.conv_norm_act import ConvNormAct
from edgeconv.models.layers.dense import DenseLayer, Transition
from edgeconv.models.layers.early_exit import ExitHead
from edgeconv.models.layers.fire import Fire
from edgeconv.models.layers.gated_residual import GatedResidual
from edgeconv.models.layers.inception import Inception
from edgeconv.models.layers.inverted_residual import InvertedResidual
from edgeconv.models.layers.mbconv import MBConv
from edgeconv.models.layers.preactivation import PreactBasicBlock, PreactBottleneck
from edgeconv.models.layers.residual import BasicBlock, Bottleneck
from edgeconv.models.layers.resize_conv import ResizeConv
from edgeconv.models.layers.selective_kernel import SelectiveKernel
from edgeconv.models.layers.squeeze_excitation import SqueezeExcitation
from edgeconv.models.layers.unet import DoubleConv
from edgeconv.models.layers.universal_bottleneck import UniversalBottleneck
from edgeconv.models.randomize import randomize_, structured_input

C = 8


class Parts:
    """A layer's weights in the order of its modules, and batch normalization by its formula."""

    def __init__(self, layer: nn.Module) -> None:
        convolutions = (nn.Conv1d, nn.Conv2d, nn.Linear)
        self.weights = [m for m in layer.modules() if isinstance(m, convolutions)]
        self.norms = [m for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]

    def __iter__(self) -> Iterator[Tensor]:
        return (module.weight for module in self.weights)

    def bias(self, index: int) -> Tensor:
        bias = self.weights[index].bias
        assert bias is not None
        return bias

    def norm(self, index: int, x: Tensor) -> Tensor:
        norm = self.norms[index]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return x * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]


def standard(p: Parts, x: Tensor) -> Tensor:
    (w,) = p
    return relu(p.norm(0, conv2d(x, w, stride=2, padding=4, dilation=2)))


def basic(p: Parts, x: Tensor) -> Tensor:
    a, b, project = p
    y = relu(p.norm(0, conv2d(x, a, stride=2, padding=1)))
    y = p.norm(1, conv2d(y, b, padding=1))
    return relu(y + p.norm(2, conv2d(x, project, stride=2)))


def bottleneck(p: Parts, x: Tensor) -> Tensor:
    a, b, c, project = p
    y = relu(p.norm(0, conv2d(x, a)))
    y = relu(p.norm(1, conv2d(y, b, stride=2, padding=1)))
    return relu(p.norm(2, conv2d(y, c)) + p.norm(3, conv2d(x, project, stride=2)))


def preact_basic(p: Parts, x: Tensor) -> Tensor:
    a, b, project = p
    activated = relu(p.norm(0, x))
    y = relu(p.norm(1, conv2d(activated, a, stride=2, padding=1)))
    return conv2d(y, b, padding=1) + conv2d(activated, project, stride=2)


def preact_bottleneck(p: Parts, x: Tensor) -> Tensor:
    a, b, c = p
    y = relu(p.norm(1, conv2d(relu(p.norm(0, x)), a)))
    y = relu(p.norm(2, conv2d(y, b, padding=1)))
    return x + conv2d(y, c)


def inverted(p: Parts, x: Tensor) -> Tensor:
    expand, depthwise, project = p
    y = p.norm(0, conv2d(x, expand)).clamp(0, 6)
    y = p.norm(1, conv2d(y, depthwise, padding=1, groups=4 * C)).clamp(0, 6)
    return x + p.norm(2, conv2d(y, project))


def mbconv(p: Parts, x: Tensor) -> Tensor:
    expand, depthwise, squeeze, excite, project = p
    y = functional.silu(p.norm(0, conv2d(x, expand)))
    y = functional.silu(p.norm(1, conv2d(y, depthwise, padding=2, groups=24)))
    gate = relu(conv2d(y.mean((2, 3), keepdim=True), squeeze, p.bias(2)))
    y = y * conv2d(gate, excite, p.bias(3)).sigmoid()
    return x + p.norm(2, conv2d(y, project))


def universal(p: Parts, x: Tensor) -> Tensor:
    start, expand, middle, project = p
    y = p.norm(0, conv2d(x, start, padding=2, groups=C))
    y = relu(p.norm(1, conv2d(y, expand)))
    y = relu(p.norm(2, conv2d(y, middle, padding=1, groups=4 * C)))
    return x + p.norm(3, conv2d(y, project))


def fire(p: Parts, x: Tensor) -> Tensor:
    squeeze, one, three = p
    y = relu(conv2d(x, squeeze, p.bias(0)))
    wide = relu(conv2d(y, three, p.bias(2), padding=1))
    return torch.cat((relu(conv2d(y, one, p.bias(1))), wide), dim=1)


def inception(p: Parts, x: Tensor) -> Tensor:
    a, b1, b2, d1, d2, e = p
    pooled = functional.max_pool2d(x, 3, 1, 1)
    b = relu(p.norm(2, conv2d(relu(p.norm(1, conv2d(x, b1))), b2, padding=1)))
    d = relu(p.norm(4, conv2d(relu(p.norm(3, conv2d(x, d1))), d2, padding=1)))
    outer = relu(p.norm(0, conv2d(x, a))), relu(p.norm(5, conv2d(pooled, e)))
    return torch.cat((outer[0], b, d, outer[1]), dim=1)


def dense(p: Parts, x: Tensor) -> Tensor:
    a, b = p
    y = conv2d(relu(p.norm(0, x)), a)
    return torch.cat((x, conv2d(relu(p.norm(1, y)), b, padding=1)), dim=1)


def transition(p: Parts, x: Tensor) -> Tensor:
    (w,) = p
    return functional.avg_pool2d(conv2d(relu(p.norm(0, x)), w), 2)


def grouped(p: Parts, x: Tensor) -> Tensor:
    (w,) = p
    y = relu(p.norm(0, conv2d(x, w, padding=1, groups=2)))
    # Two groups of six: the first of each, the second of each, ...
    return y[:, [i for pair in zip(range(6), range(6, 12), strict=True) for i in pair]]


def double(p: Parts, x: Tensor) -> Tensor:
    a, b = p
    return relu(p.norm(1, conv2d(relu(p.norm(0, conv2d(x, a, padding=1))), b, padding=1)))


def aspp(p: Parts, x: Tensor) -> Tensor:
    point, near, far, pooled, project = p
    mean = relu(p.norm(3, conv2d(x.mean((2, 3), keepdim=True), pooled)))
    branches = [
        relu(p.norm(0, conv2d(x, point))),
        relu(p.norm(1, conv2d(x, near, padding=2, dilation=2))),
        relu(p.norm(2, conv2d(x, far, padding=3, dilation=3))),
        mean.expand(-1, -1, *x.shape[2:]),
    ]
    return relu(p.norm(4, conv2d(torch.cat(branches, dim=1), project)))


def selective(p: Parts, x: Tensor) -> Tensor:
    near, far, reduce, select = p
    maps = [
        relu(p.norm(0, conv2d(x, near, padding=1))),
        relu(p.norm(1, conv2d(x, far, padding=2, dilation=2))),
    ]
    pooled = (maps[0] + maps[1]).mean((2, 3), keepdim=True)
    logits = conv2d(relu(p.norm(2, conv2d(pooled, reduce))), select)
    share = torch.stack(logits.chunk(2, dim=1)).softmax(dim=0)
    return maps[0] * share[0] + maps[1] * share[1]


def resize(p: Parts, x: Tensor) -> Tensor:
    (w,) = p
    large = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return conv2d(large, w, p.bias(0), padding=1)


def auxiliary(p: Parts, x: Tensor) -> Tensor:
    conv, first, second = p
    y = relu(p.norm(0, conv2d(functional.avg_pool2d(x, 3), conv)))
    return relu(y.flatten(1) @ first.T + p.bias(1)) @ second.T + p.bias(2)


def exit_head(p: Parts, x: Tensor) -> Tensor:
    (w,) = p
    return x.mean((2, 3)) @ w.T + p.bias(0)


CASES = [
    (standard, ConvNormAct(C, 12, 5, 2, dilation=2)),
    (basic, BasicBlock(C, 12, 2)),
    (bottleneck, Bottleneck(C, 6, 2)),
    (preact_basic, PreactBasicBlock(C, 12, 2)),
    (preact_bottleneck, PreactBottleneck(C, 2)),
    (inverted, InvertedResidual(C, C, 1, 4)),
    (
        mbconv,
        MBConv(C, C, 24, 5, 1, activation=nn.SiLU, squeeze=lambda e: SqueezeExcitation(e, 6)),
    ),
    (universal, UniversalBottleneck(C, C, 4, start=5, middle=3)),
    (fire, Fire(C, 4, 6)),
    (inception, Inception(C, 4, 6, 8, 2, 3, 5)),
    (dense, DenseLayer(C, 4)),
    (transition, Transition(C)),
    (grouped, GroupedShuffle(C, 12, groups=2)),
    (double, DoubleConv(C, 6)),
    (aspp, ASPP(C, 6, (2, 3))),
    (selective, SelectiveKernel(C, 12)),
    (resize, ResizeConv(C, 6)),
    (auxiliary, AuxiliaryHead(C, 5)),
    (exit_head, ExitHead(C, 5)),
]


@pytest.mark.parametrize(("reference", "layer"), CASES, ids=[case[0].__name__ for case in CASES])
def test_against_a_plain_reference(
    reference: Callable[[Parts, Tensor], Tensor], layer: nn.Module
) -> None:
    randomize_(layer, shape=(C, 12, 12))
    x = structured_input((2, C, 12, 12), seed=4)
    with torch.no_grad():
        # Sums in another order: float32 agrees to a few parts in a million of values about 1.
        torch.testing.assert_close(layer(x), reference(Parts(layer), x), rtol=1e-4, atol=1e-5)


def test_the_gated_unit_against_a_plain_reference() -> None:
    unit = randomize_(GatedResidual(C, 6, 3, dilation=4), shape=(C, 30))
    p, x = Parts(unit), structured_input((2, C, 30), seed=4)
    filter, gate, residual, skip = p
    padded = functional.pad(x, (8, 0))
    with torch.no_grad():
        y = conv1d(padded, filter, p.bias(0), dilation=4).tanh()
        y = y * conv1d(padded, gate, p.bias(1), dilation=4).sigmoid()
        expected = x + conv1d(y, residual, p.bias(2)), conv1d(y, skip, p.bias(3))
        torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)
