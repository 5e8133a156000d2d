"""Antialiased resizing, written as ONNX because PyTorch's own translation is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from onnxscript import opset18

op: Any = opset18  # its methods take Python's numbers and None, too
Translation = Callable[..., Any]
"""A function of symbolic tensors and attributes that writes ONNX operators, and returns a value."""


def _antialiased(
    image: Any,
    output_size: Any,
    align_corners: bool,
    scales_h: float | None = None,
    scales_w: float | None = None,
    *,
    mode: str,
) -> Any:
    """Resize with antialias by the scale factors, where they are given.

    PyTorch's translation takes the ratio of the sizes, which is another number where a size times
    its factor is not whole.
    """
    # PyTorch's filters have a = -0.5, end at the border, and are scaled by the factor.
    attributes: dict[str, Any] = {
        "mode": mode,
        "antialias": 1,
        "cubic_coeff_a": -0.5,
        "exclude_outside": 1,
        "coordinate_transformation_mode": "align_corners" if align_corners else "half_pixel",
    }
    if align_corners or scales_h is None or scales_w is None:
        sizes = [
            op.Constant(value_ints=[size]) if isinstance(size, int) else size
            for size in output_size
        ]
        return op.Resize(
            image, None, None, op.Concat(op.Shape(image, end=2), *sizes, axis=0), **attributes
        )
    scales = [1.0, 1.0]
    for before, after, factor in zip(
        image.shape[2:], output_size, (scales_h, scales_w), strict=True
    ):
        scales.append(_scale(before, after, factor))
    return op.Resize(image, None, op.Constant(value_floats=scales), None, **attributes)


def _scale(before: int, after: int, factor: float) -> float:
    """The float32 nearest to ``factor`` that makes ``after`` of ``before``.

    It does where the product is rounded to float32, as the standard has it, and where it is not.
    """
    above = below = np.float32(factor)
    for _ in range(4):
        for scale in (above, below):
            products = (float(np.float32(before) * scale), before * float(scale))
            if all(np.floor(product) == after for product in products):
                return float(scale)
        above, below = np.nextafter(above, np.float32(np.inf)), np.nextafter(below, np.float32(0))
    return after / before


ONNX_FUNCTIONS: Mapping[Callable[..., Any], Translation] = {
    torch.ops.aten._upsample_bilinear2d_aa.default: partial(_antialiased, mode="linear"),
    torch.ops.aten._upsample_bicubic2d_aa.default: partial(_antialiased, mode="cubic"),
}
"""By the overload that a decomposed program has."""
