"""Blame names the layer that was spoiled, and why, and its figures add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bundle import Format, Precision
from edgeconv.errors import DataError, UsageError
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.blame import Blame, blame
from edgeconv.export.layer_rules import LayerRule, WeightScales
from edgeconv.export.quantize.parameters import Range, activation_parameters
from edgeconv.export.quantize_options import RangeMethod
from edgeconv.models.randomize import structured_input
from support.blame_graphs import (
    CHANNELS,
    SAMPLES,
    SIZE,
    Weights,
    data,
    float_bundle,
    save,
    weights,
)

pytestmark = pytest.mark.slow

# Without the passes, or they would mend what blame is to find.
PLAIN = QuantizeOptions(equalization=False, bias_absorption=False)


def run(folder: Path, parameters: Weights, *, node_names: bool = True) -> Blame:
    bundle = float_bundle(folder, parameters, node_names=node_names)
    return blame(bundle, data(folder / "data.npz"), options=PLAIN)


def test_the_figures_of_a_sound_network_add_up(tmp_path: Path) -> None:
    found = run(tmp_path, weights())
    assert [layer.name for layer in sorted(found.layers, key=lambda x: x.position)] == list("abc")
    assert [layer.operator for layer in found.layers] == ["Conv"] * 3
    assert sum(layer.share for layer in found.layers) == pytest.approx(1)
    alone = [layer.alone_db for layer in found.layers]
    assert alone == sorted(alone)
    assert found.samples == SAMPLES
    # Roundings are nearly independent: their powers add up to that of all together, to 2 dB. The
    # activation between two layers is rounded for each of them, which counts it twice: 3 dB more.
    total = -10 * np.log10(sum(10 ** (-db / 10) for db in alone))
    assert total - 2 < found.sqnr_db < total + 5
    assert found.sqnr_db > 25
    assert all("nothing stands out" in layer.reason for layer in found.layers)
    last = next(layer for layer in found.layers if layer.name == "c")
    assert last.in_place_db == pytest.approx(found.sqnr_db)
    assert last.own_db == pytest.approx(last.alone_db, abs=0.1)


def test_one_scale_for_channels_of_unequal_weights(tmp_path: Path) -> None:
    parameters = weights()
    parameters["a.weight"][3] /= 500
    parameters["a.bias"][3] /= 500
    parameters["b.weight"][:, 3] *= 500
    rule = LayerRule(name="a", weights=WeightScales.PER_TENSOR)
    bundle = float_bundle(tmp_path, parameters)
    found = blame(bundle, data(tmp_path / "data.npz"), options=replace(PLAIN, layers=(rule,)))
    reason = next(layer.reason for layer in found.layers if layer.name == "a")
    assert "one weight scale for all output channels: the weights of channel 3" in reason
    assert "leaves it 1 of 255 quantized values" in reason


def test_one_channel_far_above_the_others(tmp_path: Path) -> None:
    parameters = weights()
    parameters["a.weight"][5] *= 300
    parameters["a.bias"][5] *= 300
    parameters["b.weight"][:, 5] /= 300
    found = run(tmp_path, parameters)
    # What a writes is what b reads: both lose by it.
    assert {layer.name for layer in found.layers[:2]} == {"a", "b"}
    reasons = {layer.name: layer.reason for layer in found.layers}
    assert reasons["a"].startswith("output: channel 5 spans")
    assert "of 256 quantized values" in reasons["a"]
    assert found.layers[0].share > 0.3
    assert "nothing stands out" in reasons["c"]


def test_noise_that_comes_from_before_is_called_inherited(tmp_path: Path) -> None:
    parameters = weights()
    parameters["a.weight"][5] *= 300
    parameters["a.bias"][5] *= 300
    parameters["b.weight"][:, 5] /= 300
    layers = {layer.name: layer for layer in run(tmp_path, parameters).layers}
    assert layers["c"].inherited
    assert layers["c"].own_db > layers["c"].in_place_db + 6
    assert not layers["a"].inherited


def test_weights_on_an_input_channel_that_is_dead(tmp_path: Path) -> None:
    parameters = weights()
    parameters["a.weight"][3], parameters["a.bias"][3] = 0, -1
    parameters["b.weight"][:, 3] = 1000
    found = run(tmp_path, parameters)
    assert found.layers[0].name == "b"
    assert found.layers[0].reason.startswith("weight: input channel 3 has weights")


def test_a_bias_that_does_not_fit(tmp_path: Path) -> None:
    parameters = weights()
    parameters["b.weight"][:] *= 1e-9
    parameters["b.bias"][:] = np.linspace(0.5, 2, CHANNELS)
    layers = {layer.name: layer for layer in run(tmp_path, parameters).layers}
    assert "saturated bias: in 8 of 8 channels" in layers["b"].reason
    assert "saturated bias" not in layers["a"].reason
    # The weight is lost, and nothing of it could be seen beside the bias.
    assert layers["b"].alone_db > 25


def test_outliers_in_the_data(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path, weights())
    x = structured_input((SAMPLES, 3, SIZE, SIZE), seed=1).numpy()
    x[2, 1, 4, 4] = 500
    whole = replace(PLAIN, range_method=RangeMethod.MINMAX)
    found = blame(bundle, data(tmp_path / "data.npz", x), options=whole)
    first = next(layer for layer in found.layers if layer.name == "a")
    assert first.reason.startswith("input: outliers: 99.9% of the values lie in [")
    assert first.inputs[0].high == pytest.approx(500, rel=0.01)


def test_nodes_without_names(tmp_path: Path) -> None:
    found = run(tmp_path, weights(), node_names=False)
    assert len({layer.node for layer in found.layers}) == 3
    assert {layer.name for layer in found.layers} == set("abc")


def test_the_file_of_the_bundle_beside_it(tmp_path: Path) -> None:
    samples = data(tmp_path / "data.npz")
    bundle = export(
        save(tmp_path / "small.onnx", weights()),
        out=tmp_path / "bundle",
        formats=[Format.ONNX],
        calibration=samples,
        calibration_size=SAMPLES - 3,  # the export holds the others back
        quantization=PLAIN,
    )
    found = blame(bundle, samples, options=PLAIN, calibration_size=SAMPLES - 3)
    assert found.file_sqnr_db is not None
    # Bias correction, which blame leaves out, makes it better by no more than this here.
    assert found.sqnr_db - 0.5 < found.file_sqnr_db < found.sqnr_db + 3


def test_a_bundle_without_the_float_network(tmp_path: Path) -> None:
    samples = data(tmp_path / "data.npz")
    bundle = export(
        save(tmp_path / "small.onnx", weights()),
        out=tmp_path / "bundle",
        formats=[Format.ONNX],
        precisions=[Precision.INT8],
        calibration=samples,
    )
    with pytest.raises(UsageError, match="no float32 ONNX file to quantize\nhint: export it with"):
        blame(bundle, samples)


def test_data_of_another_shape(tmp_path: Path) -> None:
    bundle = float_bundle(tmp_path, weights())
    wrong = data(tmp_path / "data.npz", np.zeros((4, 3, 7, 7), np.float32))
    with pytest.raises(DataError, match=r"samples of shape \[3, 7, 7\]"):
        blame(bundle, wrong)


@given(
    low=st.floats(-100, 0), high=st.floats(0.001, 100), share=st.floats(0, 1, allow_subnormal=False)
)
def test_a_round_trip_costs_half_a_step_at_most(low: float, high: float, share: float) -> None:
    parameters = activation_parameters(Range(low, high))
    covered = parameters.range
    value = np.float32([covered.low + share * (covered.high - covered.low)])
    error = abs(float(parameters.round_trip(value)[0]) - float(value[0]))
    # float32 division moves a value across a boundary between two quantized values.
    assert error <= parameters.scale * 0.501 + 1e-5 * abs(float(value[0]))
