"""Networks of small matrix products, which ONNX Runtime runs slower in int8 on Arm.

Counted on emulated boards (``benchmarks/results/int8_runtimes.md``) as int8 to float32 on a
Cortex-A72; LiteRT has no such layers.

- A fully connected layer of one sample reads each weight once. The integers of its input and result
  take about 20,000 instructions more than floats do, and int8 saves less than that in a small
  layer: 1.46 with 64x64 weights, 1.06 with 640x128, 0.88 with 1024x1024.
- A 1-D convolution over few inputs packs as much as it multiplies: 1.67 with 32 inputs of a result
  (32 channels, kernel 1), 1.12 with 96 (kernel 3). A 2-D convolution of 32 channels has 0.69.
"""

from __future__ import annotations

from enum import Enum
from math import prod

import onnx_ir as ir

from edgeconv.errors import Notice
from edgeconv.export.inspect.macs import node_macs, static_shape

LARGEST = 640 * 128  # weights of a fully connected layer that int8 makes slower
MOST_INPUTS = 3 * 32  # of a result of a 1-D convolution that int8 makes slower
MOST_ELSEWHERE = 0.5  # share of the multiplications in other layers
PRODUCTS = ("Gemm", "MatMul")


class Small(Enum):
    """A kind of small product: what it is called, and what was counted of a network of them."""

    FULLY_CONNECTED = (
        "small fully connected layers",
        "MLPerf Tiny's autoencoder takes 0.321 M instructions in int8 and 0.180 M in float32",
    )
    CONVOLUTION = (
        "1-D convolutions over few channels",
        "a WaveNet for keywords takes 10.5 M instructions in int8 and 7.88 M in float32",
    )


def slow_small_products(graph: ir.Model) -> Notice | None:
    """Say that small matrix products dominate a network, with figures; None if they do not.

    Args:
        graph: The float network.
    """
    macs_of = dict.fromkeys(Small, 0)
    total = 0
    for node in graph.graph:
        macs = node_macs(node) or 0
        total += macs
        kind = _kind(node, macs)
        if kind is not None:
            macs_of[kind] += macs
    small = sum(macs_of.values())
    if not small or total - small > MOST_ELSEWHERE * total:
        return None
    layers, figures = max(Small, key=macs_of.__getitem__).value
    return Notice(
        f"on Arm, ONNX Runtime runs int8 slower than float32 where {layers} dominate, as they do "
        f"here: {figures} on a Cortex-A72",
        "take the float32 file for ONNX Runtime, or measure both precisions with `edgeconv bench`",
    )


def _kind(node: ir.Node, macs: int) -> Small | None:
    """What kind of small product a node is; None if it is none."""
    result = static_shape(node.outputs[0])
    weights = node.inputs[1] if node.op_type in (*PRODUCTS, "Conv") else None
    if result is None or weights is None or weights.const_value is None:
        return None
    if node.op_type == "Conv":
        inputs = macs // max(1, prod(result))
        return Small.CONVOLUTION if len(result) == 3 and inputs <= MOST_INPUTS else None
    one_row = prod(result[:-1]) == 1
    return Small.FULLY_CONNECTED if one_row and macs <= LARGEST else None
