"""The region that loses most leaves int8 together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeconv.export.capture.module import capture_module
from edgeconv.export.graph_edit import constant_array
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.quantize.accuracy.candidates import Unit
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.accuracy.repair import _Search
from support.detectors import detector, samples
from support.plain_options import PLAIN

pytestmark = pytest.mark.slow

X = samples(24)
REPAIR = replace(PLAIN, repair=True)


class FlatSoftmax(nn.Module):
    """Nearly equal probabilities, read by a linear layer; int8 has steps of 1/256."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scores, self.head = nn.Conv2d(3, count, 16), nn.Linear(count, 4)

    def forward(self, x: Tensor) -> Tensor:
        read: Tensor = self.head(1000 * self.scores(x).flatten(1).softmax(-1))
        return read


def quantized(network: nn.Module, options: QuantizeOptions) -> tuple[QuantizedModel, float]:
    """The QDQ graph, and its SQNR on samples that calibration did not see."""
    graph: ir.Model = optimize(capture_module(network, (X[:1],), ["output"], 20))
    result = quantize(graph, [(x[None],) for x in X[:16]], options)
    return result, Judge.on(graph, [(x[None],) for x in X[16:]]).sqnr_db(result.model)


def test_neighbors_leave_together() -> None:
    """The scores are lost in the Sigmoid and in the Concat: neither helps alone."""
    _, lost = quantized(detector(), PLAIN)
    assert lost < 1
    for pattern in ("sigmoid_1", "cat"):
        _, alone = quantized(detector(), replace(PLAIN, keep_float=frozenset({pattern})))
        assert alone < 12
    repaired, kept = quantized(detector(), REPAIR)
    assert kept > 18  # the rest of the network is in 8 bits
    assert "it would lose too much in int8" in {
        left.partition(": ")[2] for left in repaired.float_fallback
    }
    assert not any("asked" in left for left in repaired.float_fallback)
    (step,) = repaired.improvements
    assert step.kept
    assert step.with_db - step.without_db > 20
    assert "sigmoid_1" in step.name
    assert "cat" in step.name
    assert "of" in step.name
    # Most of the network stays in int8.
    in_float = [entry for entry in repaired.float_fallback if "would lose too much" in entry]
    assert 2 <= len(in_float) <= 4


def test_a_flat_softmax_leaves_int8() -> None:
    network = FlatSoftmax(250).eval()
    assert quantized(network, PLAIN)[1] < 10
    repaired, kept = quantized(network, REPAIR)
    assert kept > 18  # the rest of the network is in 8 bits
    assert any("softmax" in entry.lower() for entry in repaired.float_fallback)


def test_a_softmax_over_more_than_the_steps_needs_no_repair() -> None:
    assert quantized(FlatSoftmax(1000).eval(), PLAIN)[1] > 20


def test_what_keeps_enough_is_left_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    plain, _ = quantized(network, PLAIN)
    repaired, _ = quantized(network, REPAIR)
    assert repaired.improvements == ()
    assert repaired.float_fallback == plain.float_fallback == ()


def test_integer_outputs_are_never_made_float() -> None:
    options = replace(REPAIR, integer_outputs=True)
    repaired, _ = quantized(detector(), options)
    output = repaired.model.graph.outputs[0].producer()
    assert output is not None
    assert output.op_type == "DequantizeLinear"


@pytest.mark.parametrize(("effort", "tried"), [(0, False), (1, True)])
def test_it_is_on_from_effort_1(effort: int, tried: bool) -> None:
    options = QuantizeOptions(effort=effort).decided()
    assert options.repair is tried
    assert options.judges is tried


def test_a_target_turns_it_on_at_any_effort() -> None:
    assert QuantizeOptions(effort=0, repair_to=20).decided().repair is True
    assert QuantizeOptions(repair=False, repair_to=20).decided().repair is False


class UnevenConcat(nn.Module):
    """Features 1000 times as large as those beside them, and weights that make up for it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.large, self.small = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(16, 4, 1)
        with torch.no_grad():
            self.head.weight[:, :8] /= 1000

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        joined = torch.cat([1000 * (4 * self.large(x)).tanh(), self.small(x).relu()], 1)
        result: Tensor = self.head(joined)
        return result


def test_a_corrected_bias_does_not_stay_with_a_layer_in_float() -> None:
    """Bias correction makes up for the lost features, which are there again in float."""
    network = UnevenConcat().eval()
    corrected = replace(PLAIN, bias_correction=True)
    plain, lost = quantized(network, corrected)
    assert [step.name for step in plain.improvements if step.kept] == ["bias correction"]
    repaired, kept = quantized(network, replace(corrected, repair=True))
    assert lost < 12
    assert kept > 18  # the rest of the network is in 8 bits
    assert any("Concat" in entry for entry in repaired.float_fallback)


def test_layers_that_stay_in_int8_keep_their_corrected_biases() -> None:
    network = UnevenConcat().eval()
    plain, corrected = (
        biases(quantized(network, replace(PLAIN, bias_correction=corrects))[0].model)
        for corrects in (False, True)
    )
    options = replace(PLAIN, bias_correction=True, repair=True)
    repaired = biases(quantized(network, options)[0].model)
    assert 2 <= len(repaired) < len(plain)
    for name, integers in repaired.items():
        assert np.array_equal(integers, corrected[name])
    assert any((integers != plain[name]).any() for name, integers in repaired.items())


def biases(model: ir.Model) -> dict[str, npt.NDArray[np.generic]]:
    """The integer biases of convolutions, by their names."""
    found = {}
    for node in model.graph:
        bias = node.inputs[2].producer() if node.op_type == "Conv" and node.inputs[2] else None
        if bias is not None:
            found[str(node.name)] = constant_array(bias.inputs[0])
    return found


def test_the_worst_neighborhoods_take_their_own_biases_along() -> None:
    """With bias correction no less is kept: its biases would leave 9.3 dB of 18.8 in float."""
    network = UnevenConcat().eval()
    places = replace(PLAIN, float_places=1)
    plain, kept = quantized(network, places)
    assert kept > 18
    corrected, kept_corrected = quantized(network, replace(places, bias_correction=True))
    assert corrected.float_fallback == plain.float_fallback
    assert [step.name for step in corrected.improvements if step.kept] == ["bias correction"]
    assert kept_corrected > kept - 0.1


class Pretended(_Search):
    """A search among operators of which some have to be in float, whatever else is."""

    def __init__(self, count: int, needed: set[int]) -> None:
        self.units = [Unit(str(index), frozenset({str(index)})) for index in range(count)]
        self._free, self._needs, self.questions = self.units, needed, 0

    def _reaches(self, target_db: float, outside: Sequence[Unit], *, certain: bool) -> bool:
        self.questions += 1
        return self._needs <= {int(unit.result) for unit in outside}


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_finds_exactly_what_has_to_be_in_float(case: tuple[int, set[int]]) -> None:
    count, needed = case
    search = Pretended(count, needed)
    found = search.reach(20.0, share=1.0)
    assert [int(unit.result) for unit in found] == sorted(needed)


def test_a_run_of_lossy_operators_takes_few_questions() -> None:
    """One operator at a time, each found by halving, would take some thousand."""
    needed = {*range(40, 52), *range(100, 240)}
    search = Pretended(400, needed)
    assert search.reach(20.0, share=0.5)
    # Two show of each that it is needed, and some dozens find where they begin.
    assert search.questions < 2 * len(needed) + 60


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))),
    st.integers(1, 64),
)
def test_a_search_that_may_ask_little_keeps_more_in_float(
    case: tuple[int, set[int]], questions: int
) -> None:
    count, needed = case
    search = Pretended(count, needed)
    found = {int(unit.result) for unit in search.reach(20.0, share=1.0, questions=questions)}
    assert not found or needed <= found
    # A look at both ends of the first run may be under way.
    assert search.questions <= questions + 2 + count.bit_length()
