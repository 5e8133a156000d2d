"""A convolution writes its channels in the order in which they are read: no transpose behind it."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from edgeconv.export.capture.module import capture_module
from edgeconv.export.opset import DEFAULT_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.tflite import lower
from edgeconv.models import create_model, input_shape
from support.lowering import Array, Net, check, operators, smooth

MAP = (2, 3, 5, 4)
SCALE, ZERO = 0.05, 120


def convolved(net: Net, channels: int, *, int8: bool, bias: bool = True) -> str:
    """A 3×3 convolution of MAP with a Relu behind it, and the codes of its result in int8."""
    rng = np.random.default_rng(channels)
    weight = rng.normal(0, 0.2, (channels, 3, 3, 3)).astype(np.float32)
    offset = rng.normal(0, 0.5, channels).astype(np.float32)
    x, pads = net.input("x", MAP), (1, 1, 1, 1)
    if not int8:
        operands = [net.constant(weight), *([net.constant(offset)] if bias else [])]
        return str(net.op("Relu", net.op("Conv", x, *operands, pads=pads)))
    x = net.quantized(x, SCALE, ZERO)
    codes, scales = net.int8_weight(weight, axis=0)
    y = net.op("Conv", x, codes, net.int32_bias(offset, scales * np.float32(SCALE)), pads=pads)
    return net.quantized(net.op("Relu", y), SCALE, ZERO)


@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize(("depth", "block"), [(1, 2), (3, 2), (2, 3)])
def test_pixel_shuffle(depth: int, block: int, int8: bool) -> None:
    net = Net()
    y = convolved(net, depth * block**2, int8=int8)
    y = net.op("DepthToSpace", y, blocksize=block, mode="CRD")
    net.output(net.quantized(y, SCALE, ZERO) if int8 else y)
    lowered = check(net, {"x": smooth(MAP)}, step=SCALE if int8 else None)
    names = operators(lowered)
    assert names.count("DEPTH_TO_SPACE") == 1
    assert {"TRANSPOSE", "RESHAPE"}.isdisjoint(names)


def test_a_pixel_shuffle_in_three_steps() -> None:
    """As some exporters write it. The two transposes of maps of rank 6 would be one of rank 4."""
    net = Net()
    n, _, h, w = MAP
    y = convolved(net, 8, int8=False, bias=False)
    y = net.op("Reshape", y, net.constant((n, 2, 2, 2, h, w)))
    y = net.op("Transpose", y, perm=(0, 1, 4, 2, 5, 3))
    net.output(net.op("Reshape", y, net.constant((n, 2, 2 * h, 2 * w))))
    assert operators(check(net, {"x": smooth(MAP)})).count("TRANSPOSE") == 1


@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_selective_kernel(int8: bool) -> None:
    """Softmax over two halves of the channels: they lie side by side from the start."""
    net = Net()
    y = convolved(net, 8, int8=int8)
    y = net.op("ReduceMean", y, net.constant((2, 3)), keepdims=1)
    weight = np.random.default_rng(1).normal(0, 1, (12, 8, 1, 1)).astype(np.float32)
    if int8:
        y = net.quantized(y, SCALE, ZERO)
        codes, _ = net.int8_weight(weight, axis=0)
        y = net.quantized(net.op("Conv", y, codes), SCALE, ZERO)
    else:
        y = net.op("Conv", y, net.constant(weight))
    y = net.op("Reshape", y, net.constant((2, 2, 6)))
    y = net.op("Softmax", y, axis=1)
    if int8:
        y = net.quantized(y, 1 / 256, 0)
    net.output(net.op("Gather", y, net.constant(np.array(1)), axis=1))
    # A step of the second convolution moves the softmax by several of its own.
    lowered = check(net, {"x": smooth(MAP)}, step=8 / 256 if int8 else None)
    assert "TRANSPOSE" not in operators(lowered)


def test_who_reads_the_channels_otherwise_gets_them() -> None:
    """A second reader, or a depthwise convolution: the order stays ONNX's."""
    net = Net()
    y = convolved(net, 12, int8=False)
    weight = np.random.default_rng(2).normal(0, 1, (12, 1, 3, 3)).astype(np.float32)
    z = net.op("Conv", y, net.constant(weight), group=12)
    net.output(net.op("DepthToSpace", y, blocksize=2, mode="CRD"))
    net.output(net.op("DepthToSpace", z, blocksize=2, mode="CRD"))
    check(net, {"x": smooth(MAP)})


# One network of each family that reshapes, splits or shuffles its channels. The input of
# wavenet_kws has three dimensions, and its channels come first by contract.
ZOO = {
    "espcn": 0,
    "ghostnet": 0,
    "googlenet": 0,
    "nin": 0,
    "shufflenet_v2_x1_0": 0,
    "sk_resnet18": 0,
    "squeezenet1_1": 0,
    "unet": 0,
    "wavenet_kws": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "transposes"), ZOO.items())
def test_the_zoo(name: str, transposes: int) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    channels, *size = input_shape(name)
    example: Array = smooth(
        (1, channels, *(min(side, 64) if len(size) == 2 else side for side in size))
    )
    network = create_model(name).eval()
    model = optimize(capture_module(network, [example], ["y"], DEFAULT_OPSET))
    assert operators(lower(model)).count("TRANSPOSE") == transposes
