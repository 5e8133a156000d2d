"""Networks of small matrix products, which ONNX Runtime runs slower in int8 on Arm.

A fully connected layer of one sample reads each weight once. Under ONNX Runtime the integers of its
input and result take about 20,000 instructions more than floats do, and int8 saves less than that
in a small layer. Counted on emulated boards (``benchmarks/results/int8_runtimes.md``), int8 to
float32 on a Cortex-A72: 1.46 with 64x64 weights, 1.49 with three times 128x128, 1.06 with 640x128,
0.88 with 1024x1024. LiteRT has no such layer.
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from edgeconv.errors import Notice
from edgeconv.export.inspect.macs import node_macs, static_shape

LARGEST = 640 * 128  # weights of a layer that int8 makes slower
MOST_ELSEWHERE = 0.5  # share of the multiplications in other layers
PRODUCTS = ("Gemm", "MatMul")


def slow_small_products(graph: ir.Model) -> Notice | None:
    """Say that small matrix products dominate a network, with figures; None if they do not.

    Args:
        graph: The float network.
    """
    small = total = 0
    for node in graph.graph:
        macs = node_macs(node) or 0
        total += macs
        small += macs if _is_small(node, macs) else 0
    if not small or total - small > MOST_ELSEWHERE * total:
        return None
    return Notice(
        "on Arm, ONNX Runtime runs int8 slower than float32 where small fully connected layers "
        "dominate, as they do here: MLPerf Tiny's autoencoder takes 0.321 M instructions in int8 "
        "and 0.180 M in float32 on a Cortex-A72",
        "take the float32 file for ONNX Runtime, or measure both precisions with `edgeconv bench`",
    )


def _is_small(node: ir.Node, macs: int) -> bool:
    """Whether a node multiplies a single row with few constant weights."""
    shape = static_shape(node.outputs[0])
    weights = node.inputs[1] if node.op_type in PRODUCTS else None
    constant = weights is not None and weights.const_value is not None
    return constant and shape is not None and prod(shape[:-1]) == 1 and macs <= LARGEST
