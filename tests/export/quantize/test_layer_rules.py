"""Precision by layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import Artifact, Precision
from edgeconv.errors import UsageError
from edgeconv.export.layer_rules import (
    ActivationZero,
    LayerPrecision,
    LayerRule,
    WeightScales,
    read_layers,
    write_layers,
)
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.layer_choices import with_choices
from edgeconv.export.tflite import lower
from edgeconv.export.warnings import warn_of_idle_rules
from edgeconv.metrics import sqnr_db
from support.lowering import smooth
from support.precision import constants, first_outputs_onnx, first_outputs_tflite

OPTIONS = QuantizeOptions(range_method=RangeMethod.MINMAX, equalization=False, effort=0)
PER_TENSOR = WeightScales.PER_TENSOR
SYMMETRIC = ActivationZero.SYMMETRIC


def model() -> ir.Model:
    """Stem and Relu, and two layers of a head; the channels of a weight differ tenfold."""
    rng = np.random.default_rng(0)
    reach = np.repeat([0.1, 0.3, 0.6, 1.0], 4)
    texts = []
    for name in ("stem_w", "head_a_w", "head_b_w"):
        weight = rng.normal(0, 0.5, 16) * reach
        texts.append(f"float[4,4,1,1] {name} = {{{','.join(f'{x:.4f}' for x in weight)}}}")
    biases = [f"float[4] {n}_bias = {{0.1,-0.2,0.3,0.4}}" for n in ("stem", "head_a", "head_b")]
    text = (
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1,4,6,6] x) => (float[1,4,6,6] y)'
        f" <{', '.join(texts + biases)}> {{ [first] s = Conv(x, stem_w, stem_bias)"
        " [second] r = Relu(s) [third] a = Conv(r, head_a_w, head_a_bias)"
        " [last] y = Conv(a, head_b_w, head_b_bias) }"
    )
    found = ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(text)).model
    for value in list(found.graph.initializers.values()):
        if not str(value.name).endswith("_w"):
            continue
        name = str(value.name).removesuffix("_w").replace("_", ".")
        del found.graph.initializers[str(value.name)]
        value.name = f"{name}.weight"
        found.graph.register_initializer(value)
    return found


BATCHES = [[smooth((1, 4, 6, 6), seed)] for seed in range(4)]
SAMPLES = [tuple(batch) for batch in BATCHES]


def options(*rules: LayerRule) -> QuantizeOptions:
    return replace(OPTIONS, layers=rules)


def test_the_first_rule_that_matches_a_layer_counts() -> None:
    rules = (
        LayerRule(name="head.a"),
        LayerRule(name="head.*", precision=LayerPrecision.FLOAT32),
        LayerRule(name="*", weights=PER_TENSOR, activations=SYMMETRIC),
    )
    found = with_choices(model().graph, options(*rules))
    assert found.keep_float == {"last"}
    assert found.chosen.per_tensor == found.chosen.symmetric == {"first", "second"}


def test_a_layer_stays_in_float() -> None:
    rule = LayerRule(name="head.b", precision=LayerPrecision.FLOAT32)
    quantized = quantize(model(), BATCHES, options(rule))
    assert [line.partition(" (")[0] for line in quantized.float_fallback] == ["last"]


def test_a_weight_has_one_scale_in_both_formats() -> None:
    graph = model()
    rules = options(LayerRule(name="stem", weights=PER_TENSOR))
    quantized = quantize(graph, BATCHES, rules)
    weights = {
        str(node.name): node.inputs[1].const_value.numpy()
        for node in quantized.model.graph
        if node.op_type == "DequantizeLinear" and node.inputs[0].const_value is not None
    }
    scales = {name: array for name, array in weights.items() if "weight" in name}
    assert sorted(array.shape for array in scales.values()) == [(), (4,), (4,)]
    real = graph.graph.initializers["stem.weight"].const_value.numpy()
    (single,) = (array for array in scales.values() if array.ndim == 0)
    assert single == pytest.approx(np.abs(real).max() / 127)
    written = [s for array, s in constants(lower(quantized.model).data) if array.dtype == np.int8]
    assert sorted(map(len, written)) == [1, 4, 4]
    _agree(quantized.model, least_db=25)


def test_activations_have_their_zero_at_0_in_both_formats() -> None:
    rules = options(LayerRule(name="*", activations=SYMMETRIC))
    quantized = quantize(model(), BATCHES, rules)
    written = {
        str(node.inputs[0].name): int(node.inputs[2].const_value.numpy())
        for node in quantized.model.graph
        if node.op_type == "QuantizeLinear"
    }
    assert written.pop("x") != 128  # the input is no layer's result
    assert set(written.values()) == {128}  # stored as uint8
    _agree(quantized.model, least_db=25)


def _agree(quantized: ir.Model, least_db: float) -> None:
    expected = first_outputs_onnx(model(), SAMPLES)
    by_onnx = first_outputs_onnx(quantized, SAMPLES)
    by_tflite = first_outputs_tflite(lower(quantized).data, SAMPLES)
    if by_tflite.shape != by_onnx.shape:
        by_tflite = np.moveaxis(by_tflite, -1, 2)
    assert sqnr_db(expected, by_onnx) > least_db
    assert sqnr_db(expected, by_tflite) > least_db


def test_a_file_says_what_is_written_of_it(tmp_path: Path) -> None:
    rules = (
        LayerRule(name='he"ad.*', precision=LayerPrecision.FLOAT32),
        LayerRule(name="*", weights=PER_TENSOR),
    )
    path = tmp_path / "recipe.toml"
    path.write_text(write_layers(rules), "utf-8")
    assert read_layers(path) == rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[layer]]\nname = 'a'\nprecision = 'int4'", "'float32', 'float16', 'int16' or 'int8'"),
        ("[[layer]]\nname = 'a'\nprecison = 'int8'", r"line 3: layer\.0\.precison"),
        (
            "# both\n[[layer]]\nname = 'a'\n\n[[layer]]\nname = 'b'\nweights = 1",
            r"line 7: layer\.1",
        ),
        ("[[layer]]\nprecision = 'int8'", r"line 1: layer\.0\.name"),
        ("[[layer]]\nname = 'a'\nprecision = 'float32'\nweights = 'per-tensor'", "no scales"),
        ("[[layers]]\nname = 'a'", "layer"),
        ("name = ", "not TOML"),
        ("layer = []", "layer: it has too few entries"),
    ],
)
def test_a_wrong_file_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=message):
        read_layers(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_layers(tmp_path / "none.toml")


def test_a_name_that_matches_nothing_is_an_error_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"'head\.c'") as caught:
        with_choices(model().graph, options(LayerRule(name="head.c")))
    assert "head.a" in str(caught.value.hint)


def _warnings(caplog: pytest.LogCaptureFixture, *rules: LayerRule, keep: str = "") -> list[str]:
    asked = replace(options(*rules), keep_float=frozenset({keep} - {""}))
    warn_of_idle_rules((), quantize(model(), BATCHES, asked))
    return [record.getMessage() for record in caplog.records]


def test_rules_that_decide_nothing_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rules = (LayerRule(name="*"), LayerRule(name="stem", precision=LayerPrecision.FLOAT32))
    (warning,) = _warnings(caplog, *rules)
    assert "'stem'" in warning
    assert "'*'" not in warning


def test_a_rule_behind_keep_float_is_named(caplog: pytest.LogCaptureFixture) -> None:
    (warning,) = _warnings(caplog, LayerRule(name="head.b", weights=PER_TENSOR), keep="head.b")
    assert "'head.b'" in warning
    caplog.clear()
    assert not _warnings(caplog, LayerRule(name="head.*", weights=PER_TENSOR), keep="head.b")


def test_int16_rules_without_int8_files_are_named(caplog: pytest.LogCaptureFixture) -> None:
    rule = LayerRule(name="head.*", precision=LayerPrecision.INT16)
    quantized = quantize(model(), BATCHES, options(rule))
    wide, narrow = (
        Artifact.model_construct(precision=precision)
        for precision in (Precision.INT16X8, Precision.INT8)
    )
    warn_of_idle_rules([wide, narrow], quantized)
    assert not caplog.records
    warn_of_idle_rules([wide], quantized)
    assert "'head.*'" in caplog.records[0].getMessage()
