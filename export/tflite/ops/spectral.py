"""Fourier transforms, written as products with constant matrices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeconv.export.tflite.graph import Array
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.registry import decomposition_of


def _waves(length: int, parts: int, kept: int, *, inverse: bool = False) -> Array:
    """Compute the matrix of a transform, (length x parts) x (kept x 2).

    ``parts`` is 1 for a real input, and 2 for one of real and imaginary parts.
    """
    turns = np.outer(np.arange(length), np.arange(kept)) % length
    turn = np.exp(2 * np.pi * turns / length * (1j if inverse else -1j))
    # A quarter of a turn has an exact value, so that the bins of real numbers are real.
    turn.real[4 * turns % (2 * length) == length] = 0
    turn.imag[2 * turns % length == 0] = 0
    turn /= length if inverse else 1
    # (1, i) times the turn, as real and imaginary parts.
    rows = np.stack([turn, 1j * turn][:parts], axis=1)
    whole: Array = np.stack([rows.real, rows.imag], axis=-1)
    return whole.reshape(length * parts, kept * 2).astype(np.float32)


@decomposition_of("DFT")
def dft(f: Decomposer) -> list[ir.Value]:
    """The signals along an axis, cut or padded to the length, times the matrix of the transform."""
    x = f.input(0)
    *shape, parts = f.shape(x)
    # An input since opset 20, an attribute before, and another default.
    axis = f.attributes.get_int("axis", 1 if f.version < 20 else -2)
    if not f.missing(2):
        axis = int(f.demand(2, "axis").item())
    axis %= len(shape) + 1
    length = shape[axis] if f.missing(1) else int(f.demand(1, "dft_length").item())
    inverse, onesided = (
        bool(f.attributes.get_int("inverse", 0)),
        bool(f.attributes.get_int("onesided", 0)),
    )
    if inverse and onesided:
        return [_real_signal(f, x, axis, None if f.missing(1) else length)]
    x = _of_length(f, x, axis, length)
    kept = length // 2 + 1 if onesided else length
    waves = _waves(length, parts, kept, inverse=inverse)
    return [_along(f, x, axis, waves, 2)]


def _of_length(f: Decomposer, x: ir.Value, axis: int, length: int) -> ir.Value:
    """``x`` with its first ``length`` elements along an axis, or zeros behind the ones it has."""
    size = f.shape(x)[axis]
    if length < size:
        return f("Slice", x, [0], [length], [axis])
    if length == size:
        return x
    behind = [0] * len(f.shape(x))
    behind[axis] = length - size
    return f("Pad", x, [0] * len(behind) + behind)


def _along(f: Decomposer, x: ir.Value, axis: int, matrix: Array, parts: int) -> ir.Value:
    """The matrix times the elements along an axis together with the last one."""
    rank = len(f.shape(x))
    others = [index for index in range(rank - 1) if index != axis]
    perm = [*others, axis, rank - 1]
    rows = f("Transpose", x, perm=perm)
    sizes = [f.shape(x)[index] for index in others]
    product = f("MatMul", f("Reshape", rows, [*sizes, matrix.shape[0]]), matrix)
    whole = f("Reshape", product, [*sizes, matrix.shape[1] // parts, parts])
    return f("Transpose", whole, perm=[perm.index(index) for index in range(rank)])


def _real_signal(f: Decomposer, x: ir.Value, axis: int, length: int | None) -> ir.Value:
    """The real signal of which ``x`` is half of the spectrum; the other half mirrors it."""
    half = f.shape(x)[axis]
    length = length or 2 * (half - 1)
    kept = length // 2 + 1
    x = _of_length(f, x, axis, kept)
    whole = _waves(length, 2, length, inverse=True).reshape(length, 2, length, 2)[..., 0]
    waves = whole[:kept].copy()
    for index in range(kept, length):
        waves[length - index, 0] += whole[index, 0]
        waves[length - index, 1] -= whole[index, 1]
    return _along(f, x, axis, waves.reshape(kept * 2, length), 1)


@decomposition_of("STFT")
def stft(f: Decomposer) -> list[ir.Value]:
    """A strided convolution whose filters are the windowed waves."""
    signal = f.input(0)
    shape = f.shape(signal)
    parts = shape[2] if len(shape) == 3 else 1
    step = int(f.demand(1, "frame_step").item())
    if not f.missing(2):
        window = f.demand(2, "window").astype(np.float64)
        length = len(window)
    else:
        length = int(f.demand(3, "frame_length").item())
        window = np.ones(length)
    kept = length // 2 + 1 if f.attributes.get_int("onesided", 1) else length
    waves = _waves(length, parts, kept).reshape(length, parts, kept * 2)
    filters = (waves * window[:, np.newaxis, np.newaxis]).transpose(2, 1, 0).astype(np.float32)
    rows = f("Transpose", f("Reshape", signal, [shape[0], shape[1], parts]), perm=[0, 2, 1])
    spectra = f("Conv", rows, np.ascontiguousarray(filters), strides=[step])
    frames = f.shape(spectra)[2]
    split = f("Reshape", spectra, [shape[0], kept, 2, frames])
    return [f("Transpose", split, perm=[0, 3, 1, 2])]
