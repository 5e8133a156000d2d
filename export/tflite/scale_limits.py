"""Limits on the requantization ratio input scale(s) / output scale.

Kernels hold the ratio as a fixed-point factor, and XNNPACK adds a magic number to round. Beyond a
limit they refuse to load, or give any value where the result should saturate; ADD ends the process.
A result that calibration saw at (nearly) one value has such a scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from edgeconv.export.tflite.graph import ChannelQuantization, NoIntegerForm, Quantization, Tensor

PRODUCTS = {
    *("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MUL", "TRANSPOSE_CONV"),
}
"""Operators whose sums have the product of the operands' scales."""

PRODUCT_REACH = 2**8
"""The limit of a product's scale over the result's: XNNPACK takes no more."""

REACHES = {"ADD": 2**7, "SUB": 2**7}
"""The limits of the largest scale of the operands over the result's."""

LEAST_SHARE = 2**-30
"""The limit of the largest scale of a sum's operands over the result's from below: beyond about
2**-100 XNNPACK ends the process."""


def check_requantization_ratio(name: str, inputs: Sequence[Tensor], result: Tensor) -> None:
    """Raise NoIntegerForm where the kernel of ``name`` cannot scale sums to ``result``."""
    if not isinstance(result.quantization, Quantization):
        return
    scales = [
        _largest_scale(tensor)
        for tensor in inputs
        if tensor.quantization is not None and tensor.dtype.itemsize <= 2
    ]
    finest = result.quantization.scale
    too_fine = name in PRODUCTS and prod(scales) >= PRODUCT_REACH * finest
    if too_fine or (name in REACHES and max(scales) >= REACHES[name] * finest):
        raise NoIntegerForm(f"its result has a scale of {finest:.1e}, too fine for TFLite's kernel")
    if name in REACHES and max(scales) < LEAST_SHARE * finest:
        raise NoIntegerForm(f"its result has a scale of {finest:.1e}, too coarse for its operands")


def _largest_scale(tensor: Tensor) -> float:
    if isinstance(tensor.quantization, ChannelQuantization):
        return float(np.max(tensor.quantization.scales))
    assert tensor.quantization is not None
    return tensor.quantization.scale
