"""Layers with 16-bit activations inside int8 files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from torch import nn

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.layer_rules import LayerPrecision, LayerRule
from edgeconv.export.precision import make_variant
from edgeconv.export.precision.variant import Variant
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.request import ExportRequest
from edgeconv.export.target import resolve_request
from edgeconv.export.tflite import lower
from edgeconv.export.verify.operators import check_operators, run_exactly
from edgeconv.metrics import sqnr_db
from edgeconv.models.randomize import structured_input
from support.precision import Samples, first_outputs_onnx, first_outputs_tflite
from support.runtimes import tflite_interpreter

OldRuntime = Callable[[bytes, Mapping[str, Any]], dict[str, np.ndarray]]

OPTIONS = QuantizeOptions(effort=0)


def island(graph: ir.Model, samples: Samples, *names: str) -> QuantizedModel:
    rules = tuple(LayerRule(name=name, precision=LayerPrecision.INT16) for name in names)
    return quantize(graph, samples, replace(OPTIONS, layers=rules))


PATTERNS = [
    ("stem.0", "depthwise"),
    ("left.0", "right"),
    ("gate.0", "head"),
    ("depthwise", "right", "*pool*", "*cat*", "*add*", "*relu*"),
    ("stem.0", "depthwise", "left.0", "right", "gate.0", "head"),
]


@pytest.mark.parametrize("names", PATTERNS)
def test_every_operator_is_right_in_both_formats(
    graph: ir.Model, samples: Samples, names: tuple[str, ...]
) -> None:
    quantized = island(graph, samples, *names)
    assert quantized.int16
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    assert variant.checked is not None
    exact = run_exactly(variant.checked, samples)
    for format in Format:
        figures = check_operators(format, variant.checked, samples, exact.integers)
        assert not figures.failed, (format, figures)
        assert figures.checked


ALL = PATTERNS[-1]


def _sqnrs(variant: Variant, expected: np.ndarray, samples: Samples) -> tuple[float, float, float]:
    by_onnx = first_outputs_onnx(variant.onnx, samples)
    file = lower(variant.tflite, finish=variant.finish).data
    by_tflite = first_outputs_tflite(file, samples)
    return sqnr_db(expected, by_onnx), sqnr_db(expected, by_tflite), sqnr_db(by_onnx, by_tflite)


def test_both_formats_keep_more_than_int8(
    graph: ir.Model, samples: Samples, expected: np.ndarray
) -> None:
    int8 = make_variant(Precision.INT8, graph, quantize(graph, samples, OPTIONS), IoType.FLOAT32)
    quantized = island(graph, samples, "gate.0", "head", "*mean*", "*mul*")
    wide = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    before, after = (_sqnrs(each, expected, samples) for each in (int8, wide))
    assert after[0] > before[0] + 1
    assert after[1] > before[1] + 1
    types = [
        detail["dtype"]
        for detail in tflite_interpreter(
            lower(wide.tflite, finish=wide.finish).data
        ).get_tensor_details()
    ]
    assert types.count(np.int16) >= 5
    assert types.count(np.int8) >= 5


@pytest.mark.parametrize("io", [IoType.INT8, IoType.UINT8])
def test_integer_inputs_and_outputs_stay_8_bits_wide(
    graph: ir.Model, samples: Samples, io: IoType
) -> None:
    variant = make_variant(Precision.INT8, graph, island(graph, samples, "head"), io)
    proto = ir.to_proto(variant.onnx)
    onnx.checker.check_model(proto, full_check=True)
    lowered = lower(variant.tflite, finish=variant.finish)
    assert {info.dtype for info in (*lowered.inputs, *lowered.outputs)} == {io.value}
    kind = {IoType.INT8: ir.DataType.INT8, IoType.UINT8: ir.DataType.UINT8}[io]
    assert {value.dtype for value in (*variant.onnx.graph.inputs, *variant.onnx.graph.outputs)} == {
        kind
    }
    info = lowered.inputs[0]
    given = [
        (np.rint(sample[0] / info.scale) + info.zero_point)
        .clip(np.iinfo(io.value).min, np.iinfo(io.value).max)
        .astype(io.value)
        for sample in samples
    ]
    pairs = [(each,) for each in given]
    by_onnx = first_outputs_onnx(variant.onnx, pairs).astype(int)
    by_tflite = first_outputs_tflite(lowered.data, pairs).astype(int)
    assert np.abs(by_onnx - by_tflite).max() <= 3  # steps of several layers, one after another
    assert np.ptp(by_onnx) > 50


@pytest.mark.slow
def test_tflite_runtime_2_14_computes_islands(
    graph: ir.Model, samples: Samples, expected: np.ndarray, tflite214: OldRuntime
) -> None:
    variant = make_variant(
        Precision.INT8, graph, island(graph, samples, "gate.0", "head", "left.0"), IoType.FLOAT32
    )
    lowered = lower(variant.tflite, finish=variant.finish)
    name = lowered.inputs[0].name
    got = [
        next(iter(tflite214(bytes(lowered.data), {name: np.moveaxis(x, 1, -1)}).values()))
        for (x,) in samples
    ]
    by_litert = first_outputs_tflite(lowered.data, samples)
    assert sqnr_db(expected, np.stack(got)) > sqnr_db(expected, by_litert) - 1


def _behind_float() -> ir.Model:
    """A convolution that stays in float, with its Relu, an Add in int16, and the input of one."""
    weight = np.random.default_rng(0).standard_normal(64)
    weights = ",".join(f"{number:.6f}" for number in weight)
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1,8,6,6] x) => (float[1,8,6,6] y)'
        f" <float[8,8,1,1] w = {{{weights}}}>"
        "{ c = Conv(x, w) r = Relu(c) a = Add(r, x) y = Relu(a) }"
    )
    for node in model.graph:
        node.name = f"{node.outputs[0].name}_{node.op_type}"
    return ir.passes.common.ShapeInferencePass()(model).model


def _kept(graph: ir.Model, variant: Variant, inputs: Samples) -> list[float]:
    """The SQNR in dB that the files in both formats have, of outputs [N, C, H, W]."""
    expected = first_outputs_onnx(graph, inputs)
    file = lower(variant.tflite, finish=variant.finish).data
    by_tflite = np.moveaxis(first_outputs_tflite(file, inputs), -1, 2)
    return [
        sqnr_db(expected, each) for each in (first_outputs_onnx(variant.onnx, inputs), by_tflite)
    ]


@pytest.mark.parametrize("clamped", [True, False])
def test_nothing_in_float_passes_through_8_bits_into_int16(clamped: bool) -> None:
    graph = _behind_float()
    if not clamped:
        conv, relu = graph.graph[0], graph.graph[1]
        ir.convenience.replace_all_uses_with(relu.outputs[0], conv.outputs[0])
        graph.graph.remove(relu, safe=True)
    inputs = [(structured_input((1, 8, 6, 6), seed).numpy(),) for seed in range(4)]
    rules = (
        LayerRule(name="[cr]_*", precision=LayerPrecision.FLOAT32),
        LayerRule(name="[ay]_*", precision=LayerPrecision.INT16),
    )
    quantized = quantize(graph, inputs, replace(OPTIONS, layers=rules))
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    figures = _kept(graph, variant, inputs)
    # Four roundings to 16 bits, each of which alone leaves 80 dB or more; 8 bits leave 40 dB.
    assert min(figures) > 70, figures
    assert variant.checked is not None
    exact = run_exactly(variant.checked, inputs)
    for format in Format:
        checked = check_operators(format, variant.checked, inputs, exact.integers)
        assert not checked.failed, (format, checked)


@pytest.mark.slow
def test_what_the_users_rules_decide_is_recorded(
    mixed: nn.Module, samples: Samples, tmp_path: Path
) -> None:
    rules = (
        LayerRule(name="head", precision=LayerPrecision.INT16),
        LayerRule(name="right", precision=LayerPrecision.FLOAT32),
    )
    bundle = export(
        mixed,
        out=tmp_path / "bundle",
        input_size=(3, 16, 16),
        precisions=["int8"],
        calibration=np.concatenate([x for (x,) in samples]),
        quantization=replace(OPTIONS, layers=rules),
    )
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    calibration = bundle.manifest.calibration
    assert calibration is not None
    assert [(each.name, each.precision, len(each.nodes)) for each in calibration.layers] == [
        ("head", "int16", 1),
        ("right", "float32", 1),
    ]
    assert {a.opset for a in bundle.manifest.artifacts} == {None, 21}
    assert any("asked to stay" in line for line in bundle.manifest.artifacts[0].float_fallback)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"precisions": ["float32"]}, "apply to int8"), ({"opset": 20}, "since opset 21")],
)
def test_what_cannot_be_is_refused_at_once(
    mixed: nn.Module, samples: Samples, options: dict[str, Any], message: str
) -> None:
    rules = (LayerRule(name="head", precision=LayerPrecision.INT16),)
    request = ExportRequest(
        "mobilenet_v2", calibration="random", quantization=replace(OPTIONS, layers=rules), **options
    )
    with pytest.raises(UsageError, match=message):
        resolve_request(request)


def test_a_softmax_or_sigmoid_has_a_fixed_scale(graph: ir.Model, samples: Samples) -> None:
    with pytest.raises(UsageError, match=r"Sigmoid.*fixed scale"):
        island(graph, samples, "gate.1")


def _clamped_between(clamp: str) -> ir.Model:
    """A convolution in float, a clamp that no rule names, and its readers in int16 and in int8."""
    generator = np.random.default_rng(0)
    first, second = (
        ",".join(f"{number:.6f}" for number in 0.4 * generator.standard_normal(64))
        for _ in range(2)
    )
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1,8,6,6] x) => (float[1,8,6,6] y)'
        f" <float[8,8,1,1] v = {{{first}}}, float[8,8,1,1] w = {{{second}}},"
        " float low = {-0.5}, float high = {1}>"
        f"{{ c = Conv(x, v) r = {clamp} d = Conv(r, w) y = Add(d, r) }}"
    )
    for node in model.graph:
        node.name = f"{node.outputs[0].name}_{node.op_type}"
    return ir.passes.common.ShapeInferencePass()(model).model


@pytest.mark.parametrize("clamp", ["Relu(c)", "Clip(c, low, high)"])
def test_a_clamp_of_what_is_in_float_holds_in_int16(clamp: str) -> None:
    graph = _clamped_between(clamp)
    inputs = [(structured_input((1, 8, 6, 6), seed).numpy(),) for seed in range(4)]
    rules = (
        LayerRule(name="c_Conv", precision=LayerPrecision.FLOAT32),
        LayerRule(name="d_Conv", precision=LayerPrecision.INT16),
    )
    quantized = quantize(graph, inputs, replace(OPTIONS, layers=rules))
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    figures = _kept(graph, variant, inputs)
    # The Add rounds to 8 bits; without the clamp 4 and 12 dB were left.
    assert min(figures) > 35, figures
    assert variant.checked is not None
    exact = run_exactly(variant.checked, inputs)
    for format in Format:
        checked = check_operators(format, variant.checked, inputs, exact.integers)
        assert not checked.failed, (format, checked)


@pytest.mark.parametrize("name", ["e_Exp", "[de]_*"])
def test_what_has_no_integer_form_stays_in_float_beside_int16(name: str) -> None:
    graph = _clamped_between("Exp(c)")
    graph.graph[1].outputs[0].name, graph.graph[1].name = "e", "e_Exp"
    inputs = [(0.3 * structured_input((1, 8, 6, 6), seed).numpy(),) for seed in range(4)]
    rule = LayerRule(name=name, precision=LayerPrecision.INT16)
    quantized = quantize(graph, inputs, replace(OPTIONS, layers=(rule,)))
    assert "e_Exp" not in quantized.int16
    variant = make_variant(Precision.INT8, graph, quantized, IoType.FLOAT32)
    expected = first_outputs_onnx(graph, inputs)
    # Several roundings to 8 bits, each of which alone leaves about 40 dB.
    assert sqnr_db(expected, first_outputs_onnx(variant.onnx, inputs)) > 30
