"""The operators that a user leaves in float."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.errors import DataError, UsageError
from edgeconv.export import export
from edgeconv.export.layer_rules import LayerRule
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, quantize
from edgeconv.export.quantize.keep_float import named_nodes
from edgeconv.metrics import sqnr_db
from support.lowering import smooth
from support.precision import first_outputs_onnx

OPTIONS = QuantizeOptions(range_method=RangeMethod.MINMAX, equalization=False)


def model() -> ir.Model:
    rng = np.random.default_rng(0)
    constants = " ".join(
        f"float[4,4,1,1] {name} = {{{','.join(f'{x:.4f}' for x in rng.normal(0, 0.5, 16))}}},"
        for name in ("stem_w", "head_a_w", "head_b_w")
    ).rstrip(",")
    text = (
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1,4,6,6] x) => (float[1,4,6,6] y)'
        f" <{constants}> {{ [first] s = Conv(x, stem_w) [second] r = Relu(s) "
        "[third] a = Conv(r, head_a_w) [last] y = Conv(a, head_b_w) }"
    )
    found = ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(text)).model
    for value in list(found.graph.initializers.values()):
        name = str(value.name).removesuffix("_w").replace("_", ".")
        del found.graph.initializers[str(value.name)]
        value.name = f"{name}.weight"
        found.graph.register_initializer(value)
    return found


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("stem", {"first"}),
        ("head.*", {"third", "last"}),
        ("head", {"third", "last"}),  # a module that contains the two
        ("r", {"first", "second"}),  # a layer and the clamp in it have one result
        ("third", {"third"}),
        ("y", {"last"}),
        ("*", {"first", "second", "third", "last"}),
    ],
)
def test_a_name_or_pattern_finds_layers(pattern: str, expected: set[str]) -> None:
    assert named_nodes(model().graph, {pattern}) == expected


def test_what_is_named_stays_in_float() -> None:
    batches = [[smooth((1, 4, 6, 6), seed)] for seed in range(4)]
    quantized = quantize(model(), batches, replace(OPTIONS, keep_float=frozenset({"head.b"})))
    assert [line.partition(" (")[0] for line in quantized.float_fallback] == ["last"]


class Unread:
    """Samples that fail as they are read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> NoReturn:
        raise AssertionError("the samples are read")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (QuantizeOptions(keep_float=frozenset({"haed.*"})), "no operator is called 'haed.*'"),
        (QuantizeOptions(layers=(LayerRule(name="haed.*"),)), "no operator is called 'haed.*'"),
        (QuantizeOptions(keep_float=frozenset({"*"})), "every operator that int8 covers was asked"),
    ],
)
def test_names_are_refused_before_a_sample_is_read(
    options: QuantizeOptions, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        export(model(), out=tmp_path / "out", calibration=Unread(), quantization=options)
    with pytest.raises(DataError, match="the samples are read"):  # without these options
        export(model(), out=tmp_path / "out", calibration=Unread())


@pytest.mark.parametrize("method", [RangeMethod.MINMAX, RangeMethod.MSE])
def test_channels_are_rescaled_only_where_something_is_rounded(method: RangeMethod) -> None:
    """``head.a`` and ``head.b``, with nothing between them that becomes an integer."""
    options = QuantizeOptions(range_method=method, equalization=True, bias_absorption=True)
    samples = [(smooth((1, 4, 6, 6), seed),) for seed in range(8)]
    options = replace(options, keep_float=frozenset({"head.*"}))
    quantized = quantize(model(), samples, options)
    expected = first_outputs_onnx(model(), samples)
    # Two roundings to 8 bits of smooth values; a channel by the wrong factor leaves less than 20.
    assert sqnr_db(expected, first_outputs_onnx(quantized.model, samples)) > 35


def test_a_wrong_name_is_an_error_with_near_ones() -> None:
    with pytest.raises(UsageError, match=r"'head\.c'") as caught:
        named_nodes(model().graph, {"head.c"})
    assert "head.a" in str(caught.value.hint)
