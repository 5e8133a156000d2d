"""Fit each layer to what the layers before it really put out in integers.

The error of a layer's inputs is partly predictable from the inputs themselves: clipped tails, steps
that are large for a channel, and what earlier layers lost all correlate with the other channels.
So weights exist with which the integer network comes closer to the float outputs than with the
weights of the float network. They are the solution of a least-squares problem for each layer, in
the order of the network: the layer's outputs in float from its inputs in integers, with a ridge
that draws the weights to those of the float network (layer-wise calibration as in Hubara et al.
2021, arXiv:2006.10518, with the asymmetric objective of Nagel et al. 2020, arXiv:2004.10568,
section 3.3; in closed form).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize.accuracy.adaround import clamp_after, row_length
from edgeconv.export.quantize.accuracy.patches import can_be_sampled, patches_of
from edgeconv.export.quantize.accuracy.piecewise import Piecewise, most_bytes
from edgeconv.export.quantize.accuracy.ridge_regression import RidgeRegression
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.quantize.layers import Layer, grouped, ungrouped
from edgeconv.export.quantize.weights import QuantizedWeight
from edgeconv.progress import Progress

Array = npt.NDArray[np.float32]

# Each layer is fitted to so many rows, which take so many bytes at the most.
_ROWS = 2048
_BYTES = 128_000_000
# The float and the integer network hold so many bytes of activations together at the most.
_HELD_BYTES = 1_500_000_000
# How strongly the weights are drawn to those in float, relative to the mean variance of an input.
# Infinite: only the bias is fitted.
_RIDGES = (1e-2, 1e-1, 1.0, 10.0, np.inf)
# Into so many parts samples are divided; what is fitted without one is judged on it.
_FOLDS = 4
# A sample counts by its error beside that of the others, which is taken as this share at least.
_LEAST_SHARE = 1e-2


def reconstruct(
    current: CalibratedModel, samples: Sequence[Batch], progress: Progress, step: str
) -> CalibratedModel:
    """Fit the weights and biases of all layers, in the order of the network.

    Samples that it was not fitted to decide for each layer how far it moves, or that it stays as it
    is. Each sample counts alike, whatever its error, for a few could decide otherwise.

    Args:
        current: The network, without bias correction.
        samples: The data, which stays in memory with what runs through the network. The first of
            them are taken if it would be more than 1.5 GB.
        progress: Called with (step, done, total) after every layer.
        step: What this is called in the progress.

    Returns:
        The network with other integer weights and biases; as it is for a single sample, which
        shows nothing of others. Layers that cannot be sampled keep theirs.
    """
    if len(samples) == 1:
        return current
    network = current.model
    samples = samples[: max(2, _HELD_BYTES // (2 * most_bytes(network.graph)))]
    floats, integers = (Piecewise(network.graph, samples) for _ in range(2))
    nodes = [
        node
        for node in network.graph
        if str(node.outputs[0].name) in current.weights and can_be_sampled(node)
    ]
    for done, node in enumerate(nodes):
        progress(step, done, len(nodes))
        layer = Layer(GraphEditor(network.graph), node)
        qdq, _ = current.to_qdq()
        (twin,) = (each for each in qdq.graph if each.name == node.name)
        read = floats.compute(network, str(layer.x.name))
        given = integers.compute(qdq, str(Layer(GraphEditor(qdq.graph), twin).x.name))
        rows = _Rows.of(node, read, given)
        found = _Problem(layer, current.weights[layer.name], rows).solve()
        if found is not None:
            current = _with_layer(current, layer.name, *found)
    progress(step, len(nodes), len(nodes))
    return current


def _with_layer(
    current: CalibratedModel, name: str, weight: QuantizedWeight, bias: Array | None
) -> CalibratedModel:
    """Replace a layer's integers and bias, unless the bias would need another scale."""
    changed = replace(current, weights={**current.weights, name: weight})
    if bias is None:
        return changed
    model = current.model.clone()
    (node,) = (each for each in model.graph if str(each.outputs[0].name) == name)
    Layer(GraphEditor(model.graph), node).set_bias(bias)
    changed = changed.with_model(model)
    return changed if changed.weights[name] is weight else current


@dataclass(frozen=True)
class _Rows:
    """What outputs of a layer read, in float and from integers, each as [groups, rows, inputs].

    Attributes:
        floats: In the float network.
        integers: In the integer network, as real numbers.
        samples: The sample that each row is of.
    """

    floats: Array
    integers: Array
    samples: npt.NDArray[np.int64]

    @classmethod
    def of(cls, node: ir.Node, read: Sequence[Array], given: Sequence[Array]) -> _Rows:
        """Take as many rows of each sample, at the same positions in both."""
        most = max(1, min(_ROWS, _BYTES // (4 * row_length(node))))
        share = max(1, most // len(read))
        both = []
        for arrays in (read, given):
            generator = np.random.default_rng(0)
            parts = [patches_of(node, array, share, generator) for array in arrays]
            both.append(np.ascontiguousarray(np.concatenate(parts).swapaxes(0, 1)))
        samples = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(both[0], both[1], samples)


class _Problem:
    """The least-squares problem of one layer with G groups, O outputs and D inputs per group."""

    def __init__(self, layer: Layer, nearest: QuantizedWeight, rows: _Rows) -> None:
        self._layer, self._nearest, self.rows = layer, nearest, rows
        weight = layer.weight
        shape = (*weight.shape[:2], -1)
        self.weight = weight.reshape(shape)
        scale = np.broadcast_to(
            nearest.parameters.aligned_scale(nearest.integers.ndim), nearest.integers.shape
        )
        self.scale = grouped(layer.node, scale).reshape(shape)
        self.integers = grouped(layer.node, nearest.integers).reshape(shape)
        self.has_bias = layer.node.op_type != "MatMul"
        self.bias = layer.bias.reshape(weight.shape[0], 1, weight.shape[1])
        self._low, self._high = clamp_after(layer.node)
        self.target = rows.floats @ self.weight.swapaxes(1, 2) + self.bias
        self._before = self._errors(self.integers, self.bias)
        mean = self._before.mean()
        weights = 1 / np.maximum(self._before, _LEAST_SHARE * mean) if mean else self._before + 1
        self.counts = (weights / weights.mean()).astype(np.float32)[rows.samples]

    def solve(self) -> tuple[QuantizedWeight, Array | None] | None:
        """The integers and the bias, [outputs], that come closest; None if nothing is better."""
        gains = self._gains()
        best = int(gains.argmax())
        if gains[best] <= 0:
            return None
        whole = _Fit(self, np.ones(len(self.counts), bool))
        integers, bias = whole.solve(_RIDGES[best])
        shaped = ungrouped(
            self._layer.node,
            integers.reshape(self._layer.weight.shape),
            self._nearest.integers.shape,
        )
        weight = QuantizedWeight(shaped.astype(np.int8), self._nearest.parameters)
        return weight, bias.reshape(-1) if self.has_bias else None

    def _gains(self) -> npt.NDArray[np.float64]:
        """For each ridge, what samples gain in dB that were not fitted to.

        The standard error of that is subtracted.
        """
        after = np.zeros((len(_RIDGES), len(self._before)))
        part = np.arange(len(self._before)) % min(_FOLDS, len(self._before))
        for fold in range(int(part.max()) + 1):
            fit = _Fit(self, (part != fold)[self.rows.samples])
            for index, ridge in enumerate(_RIDGES):
                errors = self._errors(*fit.solve(ridge))
                after[index, part == fold] = errors[part == fold]
        tiny = np.finfo(np.float64).tiny
        gains = 10 * np.log10(np.maximum(self._before, tiny) / np.maximum(after, tiny))
        chance = gains.std(axis=1, ddof=1) / np.sqrt(gains.shape[1])
        less: npt.NDArray[np.float64] = gains.mean(axis=1) - chance
        return less

    def _errors(self, integers: Array, bias: Array) -> npt.NDArray[np.float64]:
        """The mean squared error of the outputs in each sample."""
        weight = (integers * self.scale).swapaxes(1, 2)
        got = np.clip(self.rows.integers @ weight + bias, self._low, self._high)
        wanted = np.clip(self.target, self._low, self._high)
        rows = np.square(got - wanted).mean(axis=(0, 2), dtype=np.float64)
        samples = self.rows.samples
        return np.bincount(samples, rows) / np.bincount(samples)


class _Fit:
    """What fits a layer to some of its rows, as a correction of the float weights."""

    def __init__(self, problem: _Problem, inside: npt.NDArray[np.bool_]) -> None:
        self._problem = problem
        x, y = problem.rows.integers[:, inside], problem.target[:, inside]
        counts = problem.counts[inside][:, None]
        self._mean, self._mean_y = np.float32(0), problem.bias
        missing = y - problem.bias - x @ problem.weight.swapaxes(1, 2)
        if problem.has_bias:
            self._mean, self._mean_y = _mean(x, counts), _mean(y, counts)
            missing = missing - _mean(missing, counts)
        root = np.sqrt(counts)
        self._regression = RidgeRegression((x - self._mean) * root, missing * root)

    def solve(self, ridge: float) -> tuple[Array, Array]:
        """Find integers, [G, O, D], and a bias, [G, 1, O]."""
        problem = self._problem
        integers = problem.integers
        if np.isfinite(ridge):
            moved = problem.weight + self._regression.solve(ridge)
            integers = np.clip(np.rint(moved / problem.scale), -127, 127)
        weight = (integers * problem.scale).swapaxes(1, 2)
        return integers, self._mean_y - self._mean @ weight if problem.has_bias else problem.bias


def _mean(x: Array, counts: Array) -> Array:
    """The weighted mean over the rows of [G, S, N], as [G, 1, N]."""
    mean: Array = (x * counts).sum(axis=1, keepdims=True) / counts.sum()
    return mean
