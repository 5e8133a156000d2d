"""An int8 convolution over few channels reads several columns, or rows, as one pixel.

XNNPACK's int8 kernels take the channels of a tap eight at a time (four with dot products), so an
image's three leave five multiplications of eight idle, and a spectrogram's one leaves seven. In
N x H x W x C the columns of a block lie side by side: N x H x (W / b) x (b C) are the same bytes,
and a kernel with zeros at the ends computes the same sums, or those of several columns at once.
Millions of instructions on a Cortex-A72: 3x3 stride 2 over 96x96x3 0.66 to 0.48, 5x5 over 64x64x1
21.6 to 13.3, 10x4 stride 2 over 49x10x1 1.05 to 0.55. In float there is nothing to gain.

TFLite's own kernels copy each window into a row, and multiply sixteen elements of it at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgeconv.export.tflite.builder import INT8
from edgeconv.export.tflite.emit.borders import bordered
from edgeconv.export.tflite.emit.weights import integer_bias, integer_weights, weight_tensor
from edgeconv.export.tflite.emit.windows import Window, map_result
from edgeconv.export.tflite.graph import Array, ChannelQuantization, Options, Padding, Tensor
from edgeconv.export.tflite.layout import CHANNELS_LAST, Order
from edgeconv.export.tflite.node_lowering import NodeLowering

LANES = 8
LANES_OF_WINDOWS = 16
MOST_CHANNELS = 4
WIDEST = 64
"""The most elements of a row that is read as one pixel."""
WORTHWHILE = 0.8
"""The largest share of the multiplications that may remain."""


@dataclass(frozen=True)
class Fold:
    """``rows`` x ``columns`` pixels as one.

    A result pixel holds ``outputs`` neighbors in a row. The kernel has ``height`` x ``width`` of
    the new pixels, and its first tap lies ``start`` columns into them, of which ``pad`` new ones
    are padding.
    """

    rows: int
    columns: int
    outputs: int
    height: int
    width: int
    start: int
    pad: tuple[int, int]

    def multiplications(self, channels: int) -> int:
        """Count the multiplications per channel of a result, idle ones included."""
        return self.height * self.width * _lanes(self.rows * self.columns * channels)

    def elements(self, channels: int) -> int:
        """Count the elements of a window."""
        return self.height * self.width * self.rows * self.columns * channels


def fold(area: Window, channels: int, *, whole_windows: bool = False) -> Fold | None:
    """The best way to fold a convolution of ``area``; None where none is worth it.

    ``whole_windows``: the kernel multiplies whole windows, so none is worth larger ones.
    """
    if channels > MOST_CHANNELS:
        return None
    best = min(
        (*_blocks(area), *_whole_rows(area, channels)),
        key=lambda item: (item.multiplications(channels), item.rows, item.columns),
        default=None,
    )
    plain = area.kernel[0] * area.kernel[1] * _lanes(channels)
    if best is None or best.multiplications(channels) > WORTHWHILE * plain:
        return None
    elements = area.kernel[0] * area.kernel[1] * channels
    if whole_windows and _in_windows(best.elements(channels)) > _in_windows(elements):
        return None
    return best


def _blocks(area: Window) -> Iterator[Fold]:
    """List the folds that read a block of columns as one pixel.

    The padding is whole blocks, and is emitted behind the reshape, where XNNPACK takes it into the
    convolution.
    """
    stride, width, count = area.strides[1], area.size[1], area.result[1]
    for columns in range(2, 17):
        outputs = columns // stride
        if columns % stride or width % columns or count % outputs:
            continue
        front = -(-area.low[1] // columns)
        start = front * columns - area.low[1]
        reach = start + (outputs - 1) * stride + (area.kernel[1] - 1) * area.dilations[1] + 1
        kernel = -(-reach // columns)
        behind = count // outputs - 1 + kernel - front - width // columns
        if behind >= 0:
            pad = (front, behind)
            yield Fold(1, columns, outputs, _reach(area), kernel, start, pad)


def _whole_rows(area: Window, channels: int) -> Iterator[Fold]:
    """List the folds that read a whole row as one pixel.

    What lies beside the map then needs no padding; it only has no weight. As many rows as the
    stride may be one pixel as well.
    """
    width, count, low = area.size[1], area.result[1], area.low[1]
    if width * channels > WIDEST:
        return
    yield Fold(1, width, count, _reach(area), 1, -low, (0, 0))
    rows = area.strides[0]
    height = -(-_reach(area) // rows)
    if rows > 1 and _rows_behind(area, rows, height) >= 0:
        yield Fold(rows, width, count, height, 1, -low, (0, 0))


def _reach(area: Window) -> int:
    return (area.kernel[0] - 1) * area.dilations[0] + 1


def _rows_behind(area: Window, rows: int, height: int) -> int:
    return (area.result[0] - 1 + height) * rows - area.low[0] - area.size[0]


def _lanes(count: int) -> int:
    return -(-count // LANES) * LANES


def _in_windows(count: int) -> int:
    return -(-count // LANES_OF_WINDOWS)


def emit_folded(ctx: NodeLowering, area: Window, found: Fold) -> None:
    """CONV_2D over folded pixels, its result the same elements in the same order."""
    n, channels = ctx.shape(0)[:2]
    known = integer_weights(ctx, 1, channel_axis=0)
    codes = _folded(known.codes.transpose(0, 2, 3, 1), area, found)
    tiled = known.scales if known.scales.size == 1 else np.tile(known.scales, found.outputs)
    units = len(known.codes)
    x = _input(ctx, area, found, n, channels)
    weight = weight_tensor(ctx, 1, codes, tiled, axis=0)
    bias = _repeated(integer_bias(ctx, 2, x, known.scales, units), found.outputs)
    shape, order = map_result(ctx)
    wide = (n, shape[1], shape[2] // found.outputs, units * found.outputs)
    options: Options = {
        "padding": Padding.VALID,
        "strideH": area.strides[0] // found.rows,
        "strideW": 1,
        "dilationHFactor": 1,
        "dilationWFactor": 1,
    }
    ctx.emit_stored("CONV_2D", [x, weight, bias], wide, order, options)


def _input(ctx: NodeLowering, area: Window, found: Fold, n: int, channels: int) -> Tensor:
    """The input as folded pixels, padded."""
    height, width = area.size
    order = Order.of(ctx.shape(0), CHANNELS_LAST)
    pixel = found.rows * found.columns * channels
    if found.rows == 1:
        shape = (n, height, width // found.columns, pixel)
        x = ctx.builder.arranged(ctx.stored(0), order, shape)
        return _padded(ctx, x, ((area.low[0], area.high[0]), found.pad))
    x = ctx.builder.arranged(ctx.stored(0), order, (n, height, width, channels))
    behind = _rows_behind(area, found.rows, found.height)
    x = _padded(ctx, x, ((area.low[0], behind), (0, 0)))
    return ctx.builder.reshape(x, (n, x.shape[1] // found.rows, 1, pixel))


def _padded(ctx: NodeLowering, x: Tensor, pads: tuple[tuple[int, int], tuple[int, int]]) -> Tensor:
    if pads == ((0, 0), (0, 0)):
        return x
    return bordered(ctx, x, ((0, 0), *pads, (0, 0)))


def _repeated(bias: Tensor, count: int) -> Tensor:
    """The bias once for every output of a folded pixel."""
    elements, quantization = bias.elements, bias.quantization
    assert elements is not None
    if isinstance(quantization, ChannelQuantization):
        quantization = ChannelQuantization(np.tile(quantization.scales, count), 0)
    repeated = np.tile(elements, count)
    return Tensor(bias.name, repeated.shape, repeated.dtype, repeated, quantization)


def _folded(weight: Array, area: Window, found: Fold) -> Array:
    """The codes of M x kh x kw x C for folded pixels: (outputs M) x height x width x pixel."""
    units, kernel_rows, kernel_columns, channels = weight.shape
    result = np.zeros(
        (found.outputs, units, found.height, found.rows, found.width, found.columns, channels),
        INT8,
    )
    for output in range(found.outputs):
        for row in range(kernel_rows):
            down, inner_row = divmod(row * area.dilations[0], found.rows)
            for column in range(kernel_columns):
                place = found.start + output * area.strides[1] + column * area.dilations[1]
                if 0 <= place < found.width * found.columns:
                    right, inner = divmod(place, found.columns)
                    result[output, :, down, inner_row, right, inner] = weight[:, row, column]
    ordered: Array = result.transpose(0, 1, 2, 4, 3, 5, 6)
    return ordered.reshape(found.outputs * units, found.height, found.width, -1)
