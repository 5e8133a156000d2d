"""Pools over windows, and over whole maps."""

from __future__ import annotations

import onnx_ir as ir
from edgeconv.export.tflite.builder import Builder
from edgeconv.export.tflite.fusion import LOWEST, bounds
from edgeconv.export.tflite.graph import Options, Padding
from edgeconv.export.tflite.ops.windows import (
    Window,
    map_input,
    map_result,
    padded,
    padded_with_lowest,
    window,
)
from edgeconv.export.tflite.registry import Integer, operator
from edgeconv.export.tflite.site import Site

NON_NEGATIVE = {"Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt"}
KEEPS_SIGN = {"MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Identity"}


@operator("MaxPool", integer=Integer.MOVES)
def max_pool(site: Site) -> None:
    """MAX_POOL_2D. Its SAME padding never wins; explicit padding must not either."""
    if len(site.node.outputs) > 1 and site.node.outputs[1].uses():
        raise site.unsupported("its indices are used", "use the values only")
    area = window(site, site.integers_attribute("kernel_shape", ()))
    if area.dilations != (1, 1):
        raise site.unsupported(f"dilations are {area.dilations}", "use dilation 1")
    x = map_input(site)
    padding = area.padding
    if padding is None:
        pad = padded if _never_below_zero(site) else padded_with_lowest
        x, padding = pad(site, x, area), Padding.VALID
    site.emit_stored("MAX_POOL_2D", [x], *map_result(site), _options(area, padding))


@operator("AveragePool", integer=Integer.MOVES)
def average_pool(site: Site) -> None:
    """AVERAGE_POOL_2D, which divides by the number of elements inside the map, as ONNX does
    without ``count_include_pad``; with it, zeros around the map are elements of it."""
    area = window(site, site.integers_attribute("kernel_shape", ()))
    if area.dilations != (1, 1):
        raise site.unsupported(f"dilations are {area.dilations}", "use dilation 1")
    padding = area.padding
    include = site.integer_attribute("count_include_pad", 0) == 1
    x = map_input(site)
    if padding is None or (include and padding is Padding.SAME):
        if not include:
            raise site.unsupported(
                f"padding {area.low} before and {area.high} behind is not TFLite's SAME",
                "set count_include_pad or pad the input",
            )
        if site.integer_attribute("ceil_mode", 0):
            raise site.unsupported("ceil_mode with padding", "set ceil_mode to 0")
        x, padding = padded(site, x, area), Padding.VALID
    site.emit_stored("AVERAGE_POOL_2D", [x], *map_result(site), _options(area, padding))


def _options(area: Window, padding: Padding) -> Options:
    return {
        "padding": padding,
        "strideH": area.strides[0],
        "strideW": area.strides[1],
        "filterHeight": area.kernel[0],
        "filterWidth": area.kernel[1],
    }


def _never_below_zero(site: Site) -> bool:
    """Whether a zero around the input cannot exceed an element of it by mistake."""
    if site.integer:
        return site.wanted.zero_point == LOWEST
    return non_negative(site.value(0), site.builder)


def non_negative(value: ir.Value, builder: Builder) -> bool:
    """Whether the producer of ``value`` rules out negative elements."""
    node = value.producer()
    if node is None:
        return False
    if node.op_type in NON_NEGATIVE:
        return True
    limits = bounds(node, builder)
    if limits is not None and limits[0] >= 0:
        return True
    source = node.inputs[0] if node.inputs else None
    return node.op_type in KEEPS_SIGN and source is not None and non_negative(source, builder)
