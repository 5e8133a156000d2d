"""Layers that are fitted to what the layers before them put out in integers."""

from __future__ import annotations

from dataclasses import replace
from statistics import geometric_mean

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.export.quantize import QuantizeOptions, RangeMethod
from edgeconv.export.quantize.accuracy.piecewise import Piecewise, most_bytes
from edgeconv.export.quantize.accuracy.reconstruction import reconstruct
from edgeconv.export.quantize.accuracy.ridge_regression import RidgeRegression
from edgeconv.export.quantize.calibrated import CalibratedModel, draft
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.progress import no_progress
from support.lowering import Net, as_model, smooth

Array = npt.NDArray[np.float32]
MINMAX = QuantizeOptions(range_method=RangeMethod.MINMAX, effort=0)
# On one of so small networks chance may cost more than the fit gains: tests that compare noise
# take the geometric mean over these.
SEEDS = range(8)


def branching(seed: int = 3) -> ir.Model:
    """Two branches that read one activation, a product without a bias, a convolution in groups."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4
        return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)

    net = Net()
    x = net.input("x", (1, 3, 12, 12))
    first = net.op("Relu", net.op("Conv", x, net.constant(weight(8, 3, 3, 3)), pads=[1] * 4))
    left = net.op("Conv", first, net.constant(weight(8, 1, 3, 3)), group=8, pads=[1] * 4)
    right = net.op("Conv", first, net.constant(weight(8, 8, 1, 1)), net.constant(weight(8)))
    both = net.op("Relu", net.op("Add", left, right))
    pooled = net.op("GlobalAveragePool", both)
    flat = net.op("Reshape", pooled, net.constant(np.array([1, 8])))
    return as_model(net.output(net.op("MatMul", flat, net.constant(weight(8, 5)))).proto())


def pictures(count: int, seed: int) -> list[list[Array]]:
    """Pictures in which neighbors are alike, as in photographs, of different brightness."""
    rng = np.random.default_rng(seed)
    shapes = smooth((count, 3, 12, 12))
    return [[(rng.gamma(2.0) * np.roll(each, rng.integers(12), -1))[None]] for each in shapes]


def noise(fitted: CalibratedModel, network: ir.Model, samples: list[list[Array]]) -> float:
    name = [str(network.graph.outputs[0].name)]
    pairs = zip(
        IntermediateOutputs(fitted.to_qdq()[0], name).run_each(samples),
        IntermediateOutputs(network, name).run_each(samples),
        strict=True,
    )
    return float(np.mean([np.square(got - wanted).mean() for (got,), (wanted,) in pairs]))


def noise_left(seed: int, samples: list[list[Array]], judged: list[list[Array]]) -> float:
    """What the fit leaves of a network's noise: 1 is all of it."""
    network = branching(seed)
    before, after = fitted(network, samples)
    return noise(after, network, judged) / noise(before, network, judged)


def fitted(network: ir.Model, samples: list[list[Array]]) -> tuple[CalibratedModel, ...]:
    before = draft(network, samples, MINMAX)
    return before, reconstruct(before, samples, no_progress, "step")


def test_it_takes_back_what_the_layers_before_lost() -> None:
    """Inputs have steps as large as their spread, for which other weights are better."""
    samples, unseen = pictures(32, seed=0), pictures(32, seed=1)
    assert geometric_mean([noise_left(seed, samples, unseen) for seed in SEEDS]) < 1
    before, after = fitted(branching(), samples)
    # It is the integers and biases that moved; what the float graph computes otherwise stays.
    assert any(
        (after.weights[name].integers != each.integers).any()
        for name, each in before.weights.items()
    )
    assert after.activations == before.activations
    assert all(np.abs(each.integers.astype(int)).max() <= 127 for each in after.weights.values())


def test_coarse_inputs_gain_much() -> None:
    """Two channels carry the same; one has a hundredth of the range and is lost in the scale.

    The weights in float read the small one. Those for the integers read the large one.
    """
    net = Net()
    x = net.input("x", (1, 2, 8, 8))
    mixed = net.op(
        "Conv", x, net.constant(np.array([[[[100.0]], [[0]]], [[[1]], [[0]]]], np.float32))
    )
    small = np.array([[[[0.0]], [[1.0]]]], np.float32)
    network = as_model(net.output(net.op("Conv", mixed, net.constant(small))).proto())
    drawn = np.random.default_rng(3).normal(size=(32, 1, 2, 8, 8)).astype(np.float32)
    samples, unseen = ([[each] for each in half] for half in (drawn[:16], drawn[16:]))
    before, after = fitted(network, samples)
    # A step of the scale is most of the small channel's range. The large one has all 8 bits, and
    # the weight that reads it, 0.01, is 1.3 steps of a scale that it shares with the 1: a fifth of
    # the amplitude is left.
    assert noise(after, network, unseen) < noise(before, network, unseen) / 10


@pytest.mark.parametrize("count", [2, 5])
def test_few_samples_do(count: int) -> None:
    samples = pictures(count, seed=2)
    # Two samples are too few for any change here, and rounding of sums may change the last digits.
    assert geometric_mean([noise_left(seed, samples, samples) for seed in SEEDS]) < 1 + 1e-6


def test_a_single_sample_cannot_show_what_is_better() -> None:
    before, after = fitted(branching(), pictures(1, seed=2))
    assert after is before


def test_constant_inputs_do_no_harm() -> None:
    network = branching()
    samples = [[np.zeros((1, 3, 12, 12), np.float32)] for _ in range(4)]
    before, after = fitted(network, samples)
    assert noise(after, network, samples) <= noise(before, network, samples)


def test_the_same_samples_give_the_same_integers() -> None:
    network = branching()
    first, second = (fitted(network, pictures(8, seed=4))[1] for _ in range(2))
    for name, each in first.weights.items():
        np.testing.assert_array_equal(second.weights[name].integers, each.integers)


def test_layers_that_users_keep_in_float_are_left_alone() -> None:
    network = branching()
    kept = next(str(node.name) for node in network.graph if node.op_type == "Conv")
    samples = pictures(8, seed=5)
    before = draft(network, samples, replace(MINMAX, keep_float=frozenset({kept})))
    after = reconstruct(before, samples, no_progress, "step")
    for graph in (before.model.graph, after.model.graph):
        (node,) = (each for each in graph if each.name == kept)
        assert len([value for value in node.inputs if value is not None]) == 2


def test_pieces_come_to_the_whole_and_each_operator_runs_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, samples = branching(), pictures(3, seed=6)
    read = [
        str(node.inputs[0].name) for node in network.graph if node.op_type in ("Conv", "MatMul")
    ]
    expected = list(IntermediateOutputs(network, read).run_each(samples))
    ran: list[str] = []
    started = IntermediateOutputs.__init__

    def recorded(self: IntermediateOutputs, model: ir.Model, names: list[str]) -> None:
        ran.extend(str(node.outputs[0].name) for node in model.graph)
        started(self, model, names)

    monkeypatch.setattr(IntermediateOutputs, "__init__", recorded)
    pieces = Piecewise(network.graph, samples)
    for index, name in enumerate(read):
        got = pieces.compute(network, name)
        for sample, array in enumerate(got):
            np.testing.assert_array_equal(array, expected[sample][index])
    assert len(ran) == len(set(ran))
    assert len(pieces._known) <= 1


def test_bodies_read_what_ran_before_them() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 20]>
        net (float[1, 3] x) => (float[1, 3] y) {
            zero = Constant <value = float {0}> ()
            sum = ReduceSum <keepdims = 0> (x)
            above = Greater (sum, zero)
            double = Add (x, x)
            chosen = If (above) <
                then_branch = a () => (float[1, 3] p) { p = Neg (double) },
                else_branch = b () => (float[1, 3] q) { q = Exp (double) }>
            y = Add (chosen, x)
        }"""
    )
    network = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    sample = np.array([[1.0, 2.0, -0.5]], np.float32)
    pieces = Piecewise(network.graph, [[sample]])
    assert pieces.compute(network, "above")[0].item()
    np.testing.assert_allclose(pieces.compute(network, "y")[0], -2 * sample + sample)


def test_memory_is_counted_while_values_wait_for_a_reader() -> None:
    """Both results of a branch and what they are joined to live at one time."""
    net = Net()
    x = net.input("x", (1, 3, 4, 4))
    left, right = net.op("Relu", x), net.op("Neg", x)
    graph = as_model(net.output(net.op("Add", left, right)).proto()).graph
    assert most_bytes(graph) == 3 * 4 * 48  # x, left and right; then left, right and their sum


def test_so_many_samples_are_fitted_to_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    network = branching()
    each = 2 * most_bytes(network.graph)
    monkeypatch.setattr("edgeconv.export.quantize.accuracy.reconstruction._HELD_BYTES", 3 * each)
    samples = pictures(6, seed=0)
    current = draft(network, samples, MINMAX)
    few, same = (reconstruct(current, given, no_progress, "") for given in (samples, samples[:3]))
    for name, weight in same.weights.items():
        np.testing.assert_array_equal(few.weights[name].integers, weight.integers)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0.01, 10), st.integers(0, 2**32 - 1))
def test_the_regression_is_that_of_numpy(rows: int, size: int, ridge: float, seed: int) -> None:
    """In both forms, that of few rows and that of few inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, rows, size)).astype(np.float32)
    y = rng.normal(size=(2, rows, 3)).astype(np.float32)
    got = RidgeRegression(x, y).solve(ridge)
    for group in range(2):
        spread = np.sqrt(np.square(x[group], dtype=np.float64).sum(axis=0))
        stacked = np.vstack([x[group], np.sqrt(ridge) * np.diag(spread)])
        wanted, *_ = np.linalg.lstsq(
            stacked, np.vstack([y[group], np.zeros((size, 3))]), rcond=None
        )
        # Products of float32 have relative errors of 1e-7, and the ridge bounds their growth.
        np.testing.assert_allclose(got[group], wanted.T, rtol=1e-3, atol=1e-3)
