"""Operators whose weights are inputs of the network, or computed from them."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from edgeconv.bundle import Layout
from support.lowering import Net, check, smooth


def feed_and_check(net: Net, shapes: dict[str, tuple[int, ...]], layout: Layout) -> None:
    feeds = {name: smooth(shape, seed=i) for i, (name, shape) in enumerate(shapes.items())}
    check(net, feeds, layout=layout)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolutions(kind: str, rank: int, group: int, dilation: int, layout: Layout) -> None:
    net = Net()
    inputs, outputs, kernel = 4, 6, (3, 2, 2)[:rank]
    own = (outputs, inputs // group) if kind == "Conv" else (inputs, outputs // group)
    shapes = {"x": (2, inputs, *(7, 6, 5)[:rank]), "w": (*own, *kernel), "b": (outputs,)}
    x, weight, bias = (net.input(name, shape) for name, shape in shapes.items())
    options = {
        "group": group,
        "dilations": (dilation,) * rank,
        "strides": (2, 1, 2)[:rank],
        "pads": (1, 0, 1)[:rank] * 2,
        "kernel_shape": kernel,
    }
    net.output(net.op(kind, x, net.op("Neg", weight), bias, **options))
    feed_and_check(net, shapes, layout)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("size", [(), (5,), (5, 6), (3, 5, 6)])
def test_batch_normalization(size: tuple[int, ...], layout: Layout) -> None:
    net, shape = Net(), (2, 4, *size)
    x, *parameters = net.input("x", shape), *(net.input(name, (4,)) for name in "sbm")
    variance = net.op("Abs", net.op("Add", net.input("v", (4,)), net.constant(np.float32(1.5))))
    net.output(net.op("BatchNormalization", x, *parameters, variance, epsilon=1e-3))
    feed_and_check(net, {"x": shape, **dict.fromkeys("sbmv", (4,))}, layout)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(
    ("kind", "options", "parameters"),
    [
        ("InstanceNormalization", {}, 6),
        ("GroupNormalization", {"num_groups": 3}, 6),
    ],
)
def test_other_normalizations(
    kind: str, options: dict[str, int], parameters: int, layout: Layout
) -> None:
    net, shape = Net(opset=21), (2, 6, 5, 4)
    shapes = {"x": shape, "s": (parameters,), "b": (parameters,)}
    x, scale, shift = (net.input(name, size) for name, size in shapes.items())
    y = net.op(kind, x, scale, shift, epsilon=1e-3, **options)
    net.declared[y] = shape  # ONNX infers no shapes through GroupNormalization
    net.output(y)
    feed_and_check(net, shapes, layout)


@pytest.mark.parametrize("group", [1, 2])
def test_deformable_convolution(group: int) -> None:
    net, kernel = Net(), (2, 3)
    shapes = {
        "x": (1, 4, 6, 7),
        "w": (6, 4 // group, *kernel),
        "o": (1, 2 * prod(kernel), 5, 5),
    }
    net.output(net.op("DeformConv", *(net.input(*each) for each in shapes.items()), group=group))
    feed_and_check(net, shapes, Layout.NCHW)
