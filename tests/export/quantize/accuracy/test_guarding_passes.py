"""Each pass on a network made to need it, min-max beside it; top-1 is of 450 held-out digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeconv.export.quantize import (
    Improvement,
    QuantizedModel,
    QuantizeOptions,
    RangeMethod,
    Rounding,
    quantize,
)
from support.digit_network import (
    DigitNetwork,
    graph_of,
    rescaled,
    shifted,
    spiked,
    top1,
    trained,
    training_samples,
    with_coarse_weights,
)

pytestmark = pytest.mark.slow

PLAIN = QuantizeOptions(
    range_method=RangeMethod.MINMAX,
    equalization=False,
    bias_absorption=False,
    bias_correction=False,
    repair=False,  # what is left in float would keep what a pass has to save
)
# Of 450 digits a quarter of a percent is one: which parts a collapse from a recovery by far.
COLLAPSED = 60.0
PERCENTILE = RangeMethod.PERCENTILE
ONE_POINT = 1.0


def improvement(result: QuantizedModel, name: str) -> Improvement:
    return next(step for step in result.improvements if step.name == name)


@pytest.fixture(scope="module")
def network() -> DigitNetwork:
    return trained()


@pytest.fixture(scope="module")
def float_top1(network: DigitNetwork) -> float:
    accuracy = top1(graph_of(network))
    assert accuracy > 98
    return accuracy


def test_equalization_saves_rescaled_channels(network: DigitNetwork, float_top1: float) -> None:
    graph = graph_of(rescaled(network))
    assert top1(graph) == pytest.approx(float_top1, abs=0.3)
    assert top1(quantize(graph, training_samples(), PLAIN).model) < COLLAPSED
    result = quantize(graph, training_samples(), replace(PLAIN, equalization=True))
    assert top1(result.model) >= float_top1 - ONE_POINT
    step = improvement(result, "equalization")
    assert step.kept
    assert step.with_db > step.without_db + 15


def test_absorption_saves_shifted_channels(network: DigitNetwork, float_top1: float) -> None:
    graph = graph_of(shifted(network))
    assert top1(graph) == pytest.approx(float_top1, abs=0.3)
    assert top1(quantize(graph, training_samples(), PLAIN).model) < COLLAPSED
    result = quantize(graph, training_samples(), replace(PLAIN, bias_absorption=True))
    assert top1(result.model) >= float_top1 - ONE_POINT
    assert improvement(result, "high-bias absorption").kept


def test_all_at_once(network: DigitNetwork, float_top1: float) -> None:
    """Rescaled, shifted, with dead channels, and rare spikes a hundred times the ink."""
    graph = graph_of(rescaled(shifted(network, 100)))
    samples = spiked(training_samples(1000))
    assert top1(quantize(graph, samples, PLAIN).model) < COLLAPSED
    ours = QuantizeOptions(range_method=PERCENTILE)
    assert top1(quantize(graph, samples, ours).model) >= float_top1 - ONE_POINT


def test_equalization_quietens_weights_on_dead_channels(
    network: DigitNetwork, float_top1: float
) -> None:
    graph = graph_of(with_coarse_weights(network, 1000.0))
    assert top1(quantize(graph, training_samples(), PLAIN).model) < COLLAPSED
    result = quantize(graph, training_samples(), replace(PLAIN, equalization=True))
    assert top1(result.model) >= float_top1 - ONE_POINT


def test_what_the_input_cuts_off_widens_no_other_range(
    network: DigitNetwork, float_top1: float
) -> None:
    """One spike in a sample is one input in 64, and one activation in four behind the pool."""
    samples = spiked(training_samples(1000))
    result = quantize(graph_of(network), samples, replace(PLAIN, range_method=PERCENTILE))
    assert top1(result.model) >= float_top1 - ONE_POINT
    clean = quantize(graph_of(network), training_samples(1000), PLAIN)
    scale = "output_scale"
    spiky_scale, clean_scale = (
        float(model.graph.initializers[scale].const_value.numpy())
        for model in (result.model, clean.model)
    )
    assert spiky_scale < 1.5 * clean_scale


def test_bias_correction_takes_what_rounding_adds(network: DigitNetwork) -> None:
    graph = graph_of(with_coarse_weights(network, 20.0))
    result = quantize(graph, training_samples(), replace(PLAIN, bias_correction=True))
    step = improvement(result, "bias correction")
    # A few integers a weight: the mean error is most of the error.
    assert step.with_db > step.without_db + 3


def test_equalization_is_judged_with_corrected_biases(network: DigitNetwork) -> None:
    both = replace(PLAIN, equalization=True, bias_correction=True)
    coarse = quantize(graph_of(with_coarse_weights(network, 20.0)), training_samples(), both)
    assert improvement(coarse, "bias correction").kept
    corrected_db = improvement(coarse, "bias correction").with_db
    assert improvement(coarse, "equalization").without_db == corrected_db


def test_biases_that_need_equalization_first_are_corrected_after_it(network: DigitNetwork) -> None:
    both = replace(PLAIN, equalization=True, bias_correction=True)
    result = quantize(graph_of(rescaled(network)), training_samples(), both)
    assert not improvement(result, "bias correction").kept
    equalized_db = improvement(result, "equalization").with_db
    assert improvement(result, "bias correction with equalization").without_db == equalized_db


def test_reconstruction_makes_up_for_coarse_weights(network: DigitNetwork) -> None:
    graph = graph_of(with_coarse_weights(network))
    nearest = quantize(graph, training_samples(), PLAIN)
    fitted = quantize(graph, training_samples(), replace(PLAIN, reconstruction=True))
    step = improvement(fitted, "layer reconstruction")
    assert step.kept
    assert step.with_db > step.without_db + 3
    assert top1(fitted.model) > top1(nearest.model) + 1


def test_adaptive_rounding_of_coarse_weights(network: DigitNetwork) -> None:
    graph = graph_of(with_coarse_weights(network))
    nearest = quantize(graph, training_samples(), PLAIN)
    learned = quantize(graph, training_samples(), replace(PLAIN, rounding=Rounding.ADAPTIVE))
    step = improvement(learned, "adaptive rounding")
    assert step.with_db > step.without_db + 3
    # How the network is trained, and what it gets wrong, differs between processors.
    assert top1(learned.model) >= top1(nearest.model)


def test_the_result_is_no_worse_than_any_pass_alone(network: DigitNetwork) -> None:
    result = quantize(graph_of(network), training_samples())
    assert result.improvements
    for step in result.improvements:
        if step.kept:
            assert step.with_db >= step.without_db


def test_switched_off_passes_leave_no_record(network: DigitNetwork) -> None:
    assert quantize(graph_of(network), training_samples(), PLAIN).improvements == ()


def test_quantizing_twice_gives_the_same_integers(
    network: DigitNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.export.quantize.accuracy.adaround_layer._STEPS", 50)
    graph = graph_of(rescaled(network, 30))
    options = QuantizeOptions(rounding=Rounding.ADAPTIVE)
    first, second = (quantize(graph, training_samples()[:16], options).model for _ in range(2))
    for name, value in first.graph.initializers.items():
        other = second.graph.initializers[name].const_value
        assert value.const_value is not None
        assert other is not None
        np.testing.assert_array_equal(value.const_value.numpy(), other.numpy())


def test_a_layer_can_stay_in_float(network: DigitNetwork) -> None:
    graph = graph_of(network)
    name = next(node.name for node in graph.graph if node.op_type == "Conv")
    assert name
    result = quantize(graph, training_samples(), replace(PLAIN, keep_float=frozenset({name})))
    kept = next(node for node in result.model.graph if node.name == name)
    assert kept.inputs[1] is not None
    assert kept.inputs[1].producer() is None
    assert f"{name} (Conv): it was asked to stay in float" in result.float_fallback
