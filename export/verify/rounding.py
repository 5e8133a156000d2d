"""What float32 arithmetic can promise: how far two right float32 files may lie apart.

Two runtimes sum in different orders. So a float32 file is judged by the error that the network's
own float32 run makes against float64, on the sample itself and on the sample with every input moved
by a unit in its last place: a backward-stable program computes the exact result of such an input.
The allowance for an output of a sample is

    SAFETY × error + ULPS × 2^-23 × terms,

where error is the largest one of the two runs, or the largest relative error of the measured
samples times the magnitude of this output, if that is more: one sample may be lucky. And terms is
the largest magnitude among the terms of the output's last operator: what a sum adds up, or 1 where
the operator saturates (Sigmoid, Softmax) or subtracts 1 from an exponential (Elu). LogSoftmax only
shifts the results of the operator before it, which counts as well. A sum of n terms one after the
other rounds n times, and roundings of random signs grow with the root of n (Higham and Mary 2019,
SIAM J. Sci. Comput. 41(5)); so terms counts sqrt(n) / 2 times there, in units of half an EPSILON.
That matters where a bias is far above what is added to it: PyTorch adds it last,
and XNNPACK begins with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Sample
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.export.verify.functions import subtracted

SAFETY = 8.0
"""One run is one draw of the rounding errors. In eight networks of the zoo at 64 pixels the error
of a file was 1.2 to 2.0 times the network's own, and 4.7 times in ghostnet on large inputs."""
ULPS = 4.0
"""Kernels approximate a transcendental function to one or two units in the last place."""
EPSILON = 2.0**-23

_MOVES = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split"}
SATURATES = {"Sigmoid", "Softmax", "HardSigmoid", "Tanh", "Erf", "Softsign", "Sin", "Cos"}
"""Functions whose kernels are right to a unit in the last place of 1, even near zero."""
_PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
_MEANS = {"ReduceMean", "GlobalAveragePool", "AveragePool"}


def moved(sample: Sample, seed: int = 0, *, towards_zero: bool = False) -> Sample:
    """``sample`` with every float moved by at most one unit in its last place."""
    rng, furthest = np.random.default_rng(seed), 0 if towards_zero else 1
    return tuple(
        (array * (1 + EPSILON * rng.uniform(-1, furthest, array.shape))).astype(array.dtype)
        if array.dtype == np.float32
        else array
        for array in sample
    )


def allowances(
    model: ir.Model,
    samples: Sequence[Sample],
    float64: Mapping[int, Sequence[npt.NDArray[Any]]],
    runs: Sequence[Mapping[int, Sequence[npt.NDArray[Any]]]],
) -> npt.NDArray[np.float64]:
    """The largest absolute error that a right float32 file may have.

    Args:
        model: The optimized float graph.
        samples: The inputs.
        float64: The outputs in float64, by the index of the sample. Any other sample is allowed
            the largest relative error of these.
        runs: For each float32 run of the network, its outputs for these samples, and the first one
            for all.

    Returns:
        An array of shape [samples, outputs].
    """
    terms = np.array(_terms(model, samples))
    magnitudes, errors = np.zeros_like(terms), np.zeros_like(terms)
    for sample, output in np.ndindex(terms.shape):
        if sample not in float64:
            magnitudes[sample, output] = magnitude(runs[0][sample][output])
            continue
        # Where float32 itself overflows, no file is judged.
        judged = np.isfinite(runs[0][sample][output])
        double = float64[sample][output]
        if double.shape == judged.shape:
            double = np.where(judged, double, np.nan)
        magnitudes[sample, output] = magnitude(double)
        # A run whose result has another number of elements, by a comparison, says nothing.
        like = [run[sample][output] for run in runs if run[sample][output].shape == double.shape]
        errors[sample, output] = max((largest_error(array, double) for array in like), default=0.0)
    relative = np.divide(errors, magnitudes, out=np.zeros_like(errors), where=magnitudes > 0)
    # A sample that overflows once its inputs move says nothing about the others.
    relative[~np.isfinite(relative)] = 0.0
    pooled = relative.max(axis=0) * magnitudes
    allowed: npt.NDArray[np.float64] = SAFETY * np.maximum(errors, pooled) + ULPS * EPSILON * terms
    return allowed


def largest_error(got: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    """The largest absolute difference over the elements of ``expected`` that are finite.

    Infinite where ``got`` is not finite at one of them.
    """
    finite = np.isfinite(expected)
    if not np.isfinite(got[finite]).all():
        return float("inf")
    difference = np.abs(got[finite].astype(np.float64) - expected[finite].astype(np.float64))
    return float(difference.max(initial=0.0))


def _terms(model: ir.Model, samples: Sequence[Sample]) -> list[list[float]]:
    """For each sample and output: the largest magnitude among the terms of its last operator."""
    lasts = [_last_sums(value) for value in model.graph.outputs]
    names = sorted(
        {
            str(value.name)
            for nodes in lasts
            for node in filter(None, nodes)
            for value in node.inputs
            if value is not None and value.const_value is None and value.dtype == ir.DataType.FLOAT
        }
    )
    outputs = [str(value.name) for value in model.graph.outputs]
    runner = IntermediateOutputs(model, [*names, *outputs])
    found = []
    for sample in samples:
        arrays = dict(zip([*names, *outputs], runner.run(sample), strict=True))
        found.append(
            [_largest_size(nodes, arrays, name) for nodes, name in zip(lasts, outputs, strict=True)]
        )
    return found


def _last_sums(value: ir.Value) -> list[ir.Node | None]:
    """The operator that computed ``value``, and the one before it where that only shifts.

    LogSoftmax subtracts one number from all elements, which so keep the errors that they have.
    """
    node = last_operator(value)
    source = node.inputs[0] if node is not None and node.op_type == "LogSoftmax" else None
    return [node] if source is None else [node, last_operator(source)]


def _largest_size(
    nodes: Sequence[ir.Node | None], arrays: dict[str, npt.NDArray[np.float32]], name: str
) -> float:
    own = _size(nodes[0], arrays, arrays[name])
    if len(nodes) == 1:
        return own
    shifted = nodes[0] and nodes[0].inputs[0]
    assert shifted is not None
    # The number that is subtracted is as far off as the largest element.
    return max(own, 2 * _size(nodes[1], arrays, arrays[str(shifted.name)]))


def last_operator(value: ir.Value) -> ir.Node | None:
    """The operator that computed the elements of ``value``; None for an input of the graph."""
    node = value.producer()
    while node is not None and node.op_type in _MOVES:
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return node


def _size(
    node: ir.Node | None,
    arrays: dict[str, npt.NDArray[np.float32]],
    output: npt.NDArray[Any],
) -> float:
    own = magnitude(output)
    if node is None:
        return own
    if node.op_type in SATURATES:
        return max(1.0, own)
    if size := subtracted(node):
        return max(size, own)
    inputs = [
        arrays[str(value.name)]
        if value.const_value is None and str(value.name) in arrays
        else value.const_value.numpy()
        if value.const_value is not None
        else np.zeros(0)
        for value in node.inputs
        if value is not None
    ]
    sizes = [magnitude(array) for array in inputs]
    if node.op_type in _PRODUCTS and len(inputs) > 1:
        # Each element of the result sums products: the largest input times the weights of a unit.
        units = _by_unit(node, inputs[1])
        largest = sizes[0] * float(np.abs(units).sum(axis=0).max(initial=0.0))
        return max(own, *sizes[2:], largest) * _growth(units.shape[0])
    summed = inputs[0].size // max(1, output.size) if inputs else 1
    if node.op_type in _MEANS:
        return max(own, sizes[0]) * _growth(summed)
    if node.op_type == "ReduceSum":
        return max(own, sizes[0] * summed) * _growth(summed)
    return max(own, *sizes) if sizes else own


def _by_unit(node: ir.Node, weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights as [terms, ...]: what each element of the result multiplies and adds up."""
    units = weights if weights.ndim < 2 else np.moveaxis(weights, -2, 0)
    if node.op_type == "Conv":
        units = weights.reshape(weights.shape[0], -1).T
    elif node.op_type == "ConvTranspose":
        units = np.moveaxis(weights, 1, -1).reshape(-1, weights.shape[1])
    elif node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        units = weights.T
    return units


def _growth(terms: int) -> float:
    """How much more than a unit in the last place a sum of ``terms`` may be off."""
    return max(1.0, math.sqrt(terms) / 2)


def magnitude(array: npt.NDArray[Any]) -> float:
    """The largest finite absolute value."""
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return float(finite.max(initial=0.0))
