"""int16x8: 16-bit activations with the same scales in both formats."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.errors import UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.layer_rules import LayerPrecision, LayerRule
from edgeconv.export.passes import optimize
from edgeconv.export.precision.int16x8_onnx import refuse_lost_bounds, symmetric, widen
from edgeconv.export.precision.int16x8_tflite import widen_graph
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from edgeconv.models.randomize import randomize_, structured_input
from support.precision import (
    Samples,
    activation_scales,
    constants,
    first_outputs_onnx,
    first_outputs_tflite,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quantized(graph: ir.Model, samples: Samples) -> QuantizedModel:
    return quantize(graph, samples)


@pytest.fixture(scope="module")
def wide(quantized: QuantizedModel) -> ir.Model:
    return widen(quantized.model)


def test_both_formats_compute_the_same_and_better_than_int8(
    quantized: QuantizedModel, wide: ir.Model, samples: Samples, expected: np.ndarray
) -> None:
    by_int8 = sqnr_db(expected, first_outputs_onnx(quantized.model, samples))
    by_onnx = first_outputs_onnx(wide, samples)
    by_tflite = first_outputs_tflite(lower(quantized.model, finish=widen_graph).data, samples)
    # What is left is the error of 8-bit weights; that of 8-bit activations is gone.
    assert sqnr_db(expected, by_onnx) > by_int8 + 3
    assert sqnr_db(expected, by_tflite) > by_int8 + 3
    # TFLite multiplies by 16-bit factors, half a step of 2**-16 each.
    assert sqnr_db(by_onnx, by_tflite) > 60


def test_the_scales_are_the_same_and_symmetric(quantized: QuantizedModel, wide: ir.Model) -> None:
    stated = set()
    for node in wide.graph:
        if node.op_type == "QuantizeLinear":
            scale, zero_point = (value.const_value.numpy() for value in node.inputs[1:])
            assert zero_point.dtype == np.int16
            assert zero_point == 0
            stated.add(float(scale))
    written = activation_scales(lower(quantized.model, finish=widen_graph).data, np.int16)
    assert set(written.values()) == {0}
    assert stated <= set(written)


def test_biases_are_int64_and_weights_the_int8_ones(
    graph: ir.Model, quantized: QuantizedModel
) -> None:
    narrow = constants(lower(quantized.model).data)
    wide = constants(lower(quantized.model, finish=widen_graph).data)
    weights = [array for array, scales in narrow if array.dtype == np.int8 and len(scales) > 1]
    assert len(weights) >= 6
    for weight in weights:
        assert any(np.array_equal(weight, array) for array, _ in wide)
    assert sum(array.dtype == np.int64 for array, _ in wide) >= 5


def test_a_relu_that_an_int8_range_stood_for_comes_back(
    quantized: QuantizedModel, wide: ir.Model
) -> None:
    kinds = Counter(node.op_type for node in quantized.model.graph)
    assert kinds["Relu"] == kinds["Clip"] == 0
    # ReLU6 of the stem, and the ReLU behind the sum. Both end in a range that starts at zero.
    assert Counter(node.op_type for node in wide.graph)["Relu"] >= 2


def test_what_has_no_int16_kernel_is_named(quantized: QuantizedModel) -> None:
    left = lower(quantized.model, finish=widen_graph).float_fallback
    assert any("GELU" in reason for reason in left)


def test_the_old_runtime_takes_it(
    quantized: QuantizedModel, samples: Samples, tflite214: object
) -> None:
    data = bytes(lower(quantized.model, finish=widen_graph).data)
    image = np.ascontiguousarray(np.moveaxis(samples[0][0], 1, -1))
    (got,) = tflite214(data, {"x": image}).values()  # type: ignore[operator]
    assert sqnr_db(first_outputs_tflite(data, samples[:1])[0], got) > 60


@pytest.mark.parametrize(
    ("scale", "zero_point", "wanted"),
    [
        (1 / 256, -128, 1 / 32768),
        (1 / 128, 0, 1 / 32768),
        (0.5, -128, 0.5 * 255 / 32767),
        (0.5, 127, 0.5 * 255 / 32767),
        (0.5, 0, 0.5 * 128 / 32767),
    ],
)
def test_the_range_is_kept(scale: float, zero_point: int, wanted: float) -> None:
    assert symmetric(scale, zero_point) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-0.5, 1.0), (-np.inf, 3.0)])
def test_bounds_that_symmetric_ranges_lose_are_refused(low: float, high: float) -> None:
    proto = onnx.parser.parse_model(
        f"""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[2] x) => (float[2] y)
        <float low = {{{low}}}, float high = {{{high}}}> {{ y = Clip(x, low, high) }}
    """.replace("-inf", "-1e38")
    )
    model = ir.from_proto(proto)
    with pytest.raises(UnsupportedOperator, match="asymmetric bounds"):
        refuse_lost_bounds(model)


@pytest.mark.parametrize("clip", ["Clip(x, low)", "Clip(x, , high)"])
def test_a_bound_on_one_side_is_refused_too(clip: str) -> None:
    model = ir.from_proto(
        onnx.parser.parse_model(
            f"""
            <ir_version: 9, opset_import: ["" : 20]>
            g (float[2] x) => (float[2] y)
            <float low = {{-0.5}}, float high = {{0.3}}> {{ y = {clip} }}
            """
        )
    )
    with pytest.raises(UnsupportedOperator, match="asymmetric bounds"):
        refuse_lost_bounds(model)


def clipped() -> nn.Module:
    class Clipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.second(torch.clamp(self.first(x), -0.5, 1.0))
            return y

    return randomize_(Clipped(), shape=(3, 12, 12))


def test_bounds_that_int16_lacks_stay_in_float_where_asked(tmp_path: Path) -> None:
    x = structured_input((16, 3, 12, 12)).numpy()
    options = QuantizeOptions(effort=0)
    asked = partial(export, clipped(), input_size=12, calibration=x, precisions=["int16x8"])
    with pytest.raises(UnsupportedOperator, match="asymmetric bounds") as raised:
        asked(out=tmp_path / "refused", quantization=options)
    assert raised.value.hint is not None
    assert "clamp" in raised.value.hint
    kept = replace(options, keep_float=frozenset({"clamp"}))
    bundle = asked(out=tmp_path / "kept", quantization=kept)
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification is not None
        assert artifact.verification.sqnr_db > 40  # of weights in 8 bits


def test_a_rule_for_a_clip_that_int16_lacks_is_refused(tmp_path: Path) -> None:
    """The files were written, and both failed with advice about --precision."""
    x = structured_input((16, 3, 12, 12)).numpy()
    rules = (LayerRule(name="first", precision=LayerPrecision.INT16),)
    options = QuantizeOptions(effort=0, layers=rules)
    with pytest.raises(UsageError, match=r"clamp \(Clip\) cannot be in int16: .* -0.5 and 1"):
        export(clipped(), input_size=12, calibration=x, out=tmp_path / "o", quantization=options)


class PooledRelu(nn.Module):
    """A Relu behind a pool over maps of both signs, which int8 expresses by a range from zero."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x).mean((2, 3), keepdim=True)
        return self.head(torch.relu(y).flatten(1))


def test_a_relu_behind_a_pool_is_put_back() -> None:
    torch.manual_seed(0)
    network = PooledRelu().eval()
    noise = np.random.default_rng(0)
    samples = [
        ((noise.normal(size=(1, 3, 16, 16)) + 2 * noise.normal(size=(1, 3, 1, 1))).astype("f4"),)
        for _ in range(32)
    ]
    with torch.inference_mode():
        expected = np.stack([network(torch.from_numpy(sample[0])).numpy() for sample in samples])
    graph = optimize(capture_module(network, samples[0], ["output"], 20))
    quantized = quantize(graph, samples)
    by_int8 = sqnr_db(expected, first_outputs_onnx(quantized.model, samples))
    by_tflite = first_outputs_tflite(lower(quantized.model, finish=widen_graph).data, samples)
    assert sqnr_db(expected, first_outputs_onnx(widen(quantized.model), samples)) > by_int8 + 3
    assert sqnr_db(expected, by_tflite) > by_int8 + 3


def test_no_relu_is_put_behind_what_keeps_above_zero(wide: ir.Model) -> None:
    for node in wide.graph:
        if node.op_type == "Relu":
            producer = node.inputs[0].producer()
            assert producer is not None
            assert producer.op_type not in ("MaxPool", "Sigmoid", "Concat")


def test_files_are_as_small_as_int8_and_verified(
    network: nn.Module, calibration: Path, tmp_path: Path
) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=(3, 16, 16),
        precisions=[Precision.INT8, Precision.INT16X8],
        calibration=calibration,
    )
    size = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format in Format:
        assert size[format, Precision.INT16X8] < 1.1 * size[format, Precision.INT8]
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    wide = [a for a in bundle.manifest.artifacts if a.precision is Precision.INT16X8]
    assert {a.opset for a in wide} == {21, None}


@pytest.mark.parametrize("formats", [[Format.TFLITE], [Format.ONNX, Format.TFLITE]])
def test_int16_inputs_and_outputs(
    network: nn.Module, calibration: Path, tmp_path: Path, formats: list[Format]
) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=(3, 16, 16),
        precisions=[Precision.INT16X8],
        calibration=calibration,
        formats=formats,
        io=IoType.INT16,
    )
    for artifact in bundle.manifest.artifacts:
        assert artifact.inputs[0].dtype == artifact.outputs[0].dtype == "int16"
        assert artifact.inputs[0].zero_point == 0
        assert artifact.verification
        assert artifact.verification.passed
    scales = {artifact.inputs[0].scale for artifact in bundle.manifest.artifacts}
    assert len(scales) == 1


def test_requests_that_cannot_be(network: nn.Module, calibration: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="int16x8 needs calibration data"):
        export("resnet8", out=tmp_path / "b", precisions=[Precision.INT16X8])
    with pytest.raises(UsageError, match="since opset 21"):
        export(
            network,
            out=tmp_path / "b",
            precisions=[Precision.INT16X8],
            calibration=calibration,
            opset=20,
        )
