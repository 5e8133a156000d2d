"""Resize in all its modes."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from edgeconv.export.tflite.builder import FLOAT
from edgeconv.export.tflite.emit.sampling import Crop, Sampling, matrix
from edgeconv.export.tflite.forms import Form
from edgeconv.export.tflite.graph import Array, Options, Tensor
from edgeconv.export.tflite.layout import CHANNELS_LAST, Order, channels_last, permuted
from edgeconv.export.tflite.node_lowering import NodeLowering
from edgeconv.export.tflite.registry import Integer, operator

HALF_PIXEL = {"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"}
CROP = "tf_crop_and_resize"
MOST_SHRINKING = 4
"""The most elements for each of a result that a conversion to float is worth."""
PLACES = {"align_corners", "asymmetric", CROP, *HALF_PIXEL}


@operator("Resize", integer=Integer.MOVES)
def resize(ctx: NodeLowering) -> None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR if they place their samples as ONNX does.

    Otherwise it is, for each axis, a GATHER of nearest neighbors or a matrix product with the
    weights of the samples. In int8 graphs other samples than nearest neighbors (cubic, antialiased)
    are then computed in float.
    """
    before, after = ctx.shape(0), ctx.result_shape
    place = ctx.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if before == after and place != CROP:
        ctx.same(0)
        return
    mode = ctx.attributes.get_string("mode", "nearest")
    if place not in PLACES:
        raise ctx.unsupported(f"coordinate_transformation_mode is {place}", "use half_pixel")
    samplings = [
        Sampling(place, scale, size, result)
        for scale, size, result in zip(_scales(ctx), before, after, strict=True)
    ]
    if place == CROP:
        ctx.refuse_integer("TFLite has no integer form of a crop with a resize")
        samplings = _crops(ctx, samplings)
        if all(item.is_nothing for item in samplings):
            ctx.same(0)
            return
    is_map = len(before) == 4 and before[:2] == after[:2]
    if mode == "nearest":
        _nearest(ctx, samplings, is_map=is_map)
    elif mode == "linear" and place != CROP and is_map and _natively(ctx, samplings[2:]):
        if ctx.takes(Form.FLOAT_RESIZE) and MOST_SHRINKING * prod(after) >= prod(before):
            ctx.refuse_integer("tflite-runtime's int8 kernel is slower than float")
        options: Options = {
            "alignCorners": place == "align_corners",
            "halfPixelCenters": place in HALF_PIXEL,
        }
        _emit(ctx, "RESIZE_BILINEAR", options)
    else:
        ctx.refuse_integer("TFLite has no integer form of this mode")
        _products(ctx, samplings, cubic=mode == "cubic")


def _crops(ctx: NodeLowering, samplings: list[Sampling]) -> list[Sampling]:
    """The samplings with the part of each axis that input ``roi`` states: starts, then ends."""
    rank = len(samplings)
    axes = [axis % rank for axis in ctx.attributes.get_ints("axes", range(rank))]
    roi = ctx.demand_constant(1, "roi").astype(float).reshape(2, -1)
    starts, ends = np.zeros(rank), np.ones(rank)
    starts[axes], ends[axes] = roi
    return [
        Crop(item.place, item.scale, item.size, item.result, start, end)
        for item, start, end in zip(samplings, starts, ends, strict=True)
    ]


def _natively(ctx: NodeLowering, samplings: list[Sampling]) -> bool:
    """Whether TFLite, which samples by the sizes, takes the samples that ONNX does."""
    if ctx.attributes.get_int("antialias", 0):
        return False
    single = any(item.result == 1 for item in samplings)
    return all(item.whole for item in samplings) and not (
        single and samplings[0].place == "pytorch_half_pixel"
    )


def _products(ctx: NodeLowering, samplings: list[Sampling], *, cubic: bool) -> None:
    """Emit a matrix product along each axis.

    It is BATCH_MATMUL from the left, or FULLY_CONNECTED along the last axis of the stored tensor.
    """
    perm = channels_last(len(samplings))
    x = ctx.tensor(0, perm)
    builder = ctx.builder
    for axis, sampling in enumerate(samplings[place] for place in perm):
        if sampling.is_nothing:
            continue
        weights = matrix(
            sampling,
            a=ctx.attributes.get_float("cubic_coeff_a", -0.75) if cubic else None,
            antialias=bool(ctx.attributes.get_int("antialias", 0)),
            exclude_outside=bool(ctx.attributes.get_int("exclude_outside", 0)),
        )
        outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
        shape = (*x.shape[:axis], sampling.result, *x.shape[axis + 1 :])
        if inner == 1:
            rows = builder.reshape(x, (outer, sampling.size))
            operands = [
                rows,
                builder.constant(weights, f"{ctx.name}/weights{axis}"),
                builder.constant(np.zeros(sampling.result, FLOAT), f"{ctx.name}/zeros"),
            ]
            product = ctx.fresh(f"axis{axis}", (outer, sampling.result))
            builder.emit("FULLY_CONNECTED", operands, [product])
        else:
            columns = builder.reshape(x, (outer, sampling.size, inner))
            stack: Array = np.broadcast_to(weights, (outer, *weights.shape)).copy()
            product = ctx.fresh(f"axis{axis}", (outer, sampling.result, inner))
            left = builder.constant(stack, f"{ctx.name}/weights{axis}")
            builder.emit("BATCH_MATMUL", [left, columns], [product])
        x = builder.reshape(product, shape)
    _finish(ctx, x, samplings)


def _nearest(ctx: NodeLowering, samplings: list[Sampling], *, is_map: bool) -> None:
    rounding = ctx.attributes.get_string("nearest_mode", "round_prefer_floor")
    taken = [item.nearest(rounding) for item in samplings]
    beyond = any(isinstance(item, Crop) and item.outside.any() for item in samplings)
    natively = all(
        np.array_equal(rows, np.arange(item.result) * item.size // item.result)
        for rows, item in zip(taken, samplings, strict=True)
    )
    if is_map and natively and not beyond:
        _emit(ctx, "RESIZE_NEAREST_NEIGHBOR", {"alignCorners": False, "halfPixelCenters": False})
        return
    perm = channels_last(len(samplings))
    x = ctx.tensor(0, perm)
    for axis, rows in enumerate(taken[place] for place in perm):
        if np.array_equal(rows, np.arange(x.shape[axis])):
            continue
        shape = (*x.shape[:axis], len(rows), *x.shape[axis + 1 :])
        result = ctx.fresh(f"axis{axis}", shape, x.quantization)
        indices = ctx.builder.integers(rows, f"{result.name}/indices")
        ctx.builder.emit("GATHER", [x, indices], [result], {"axis": axis})
        x = result
    _finish(ctx, x, samplings)


def _finish(ctx: NodeLowering, x: Tensor, samplings: list[Sampling]) -> None:
    """The result is ``x``; what a crop took from beyond the input becomes a number."""
    shape = ctx.result_shape
    perm = channels_last(len(shape))
    assert x.shape == permuted(shape, perm)
    order = Order.of(shape, perm)
    outside = np.zeros(x.shape, bool)
    for axis, sampling in enumerate(samplings[place] for place in perm):
        if isinstance(sampling, Crop):
            outside |= np.expand_dims(sampling.outside, [*range(1, len(shape) - axis)])
    if not outside.any():
        ctx.finish(x, order)
        return
    builder = ctx.builder
    number = np.array(ctx.attributes.get_float("extrapolation_value", 0.0), FLOAT)
    operands = [
        builder.constant(outside, f"{ctx.name}/outside"),
        builder.constant(number, f"{ctx.name}/extrapolation"),
        x,
    ]
    ctx.emit_stored("SELECT_V2", operands, x.shape, order)


def _scales(ctx: NodeLowering) -> npt.NDArray[np.float64]:
    """Result over input for each axis: as stated, else by the sizes."""
    before, after = ctx.shape(0), ctx.result_shape
    axes = [axis % len(before) for axis in ctx.attributes.get_ints("axes", range(len(before)))]
    scales: npt.NDArray[np.float64] = np.array(after, float) / np.array(before, float)
    if ctx.has(2) and not ctx.has(3):
        scales[axes] = ctx.demand_constant(2, "scales").astype(float)
        return scales
    policy = ctx.attributes.get_string("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        asked = ctx.demand_constant(3, "sizes") / np.array([before[axis] for axis in axes])
        scales[axes] = asked.min() if policy == "not_larger" else asked.max()
    return scales


def _emit(ctx: NodeLowering, name: str, options: Options) -> None:
    size = ctx.builder.integers(ctx.result_shape[2:], f"{ctx.name}/size")
    ctx.emit(name, [ctx.tensor(0, CHANNELS_LAST), size], CHANNELS_LAST, options)
