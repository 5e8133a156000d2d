"""Normalizations."""

from __future__ import annotations

import numpy as np
from edgeconv.export.tflite.builder import FLOAT, Stored
from edgeconv.export.tflite.graph import Tensor
from edgeconv.export.tflite.layout import Order, channels_last, permuted
from edgeconv.export.tflite.registry import operator
from edgeconv.export.tflite.site import Site


@operator("BatchNormalization", fuses=True)
def batch_normalization(site: Site) -> None:
    """MUL and ADD with what the four statistics amount to for each channel."""
    scale, shift, mean, variance = (
        site.demand_constant(index, what).astype(np.float64)
        for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    factor = scale / np.sqrt(variance + site.float_attribute("epsilon", 1e-5))
    shape = site.shape(0)
    perm = channels_last(len(shape))
    x = site.tensor(0, perm)
    product = Stored(site.fresh("scaled", permuted(shape, perm)), Order.of(shape, perm))
    site.builder.emit("MUL", [x, _channels(site, factor, "factor")], [product.tensor])
    offset = _channels(site, shift - mean * factor, "offset")
    site.emit("ADD", [product.tensor, offset], perm)


def _channels(site: Site, array: np.ndarray, name: str) -> Tensor:
    return site.builder.constant(array.astype(FLOAT), f"{site.name}/{name}")
