"""Bilinear resizing with 16-bit activations: LiteRT's kernel divides an element into 1024 parts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeconv.bundle import IoType, Precision
from edgeconv.export.passes import optimize
from edgeconv.export.precision import make_variant
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from edgeconv.models.randomize import structured_input
from support.precision import first_outputs_onnx, first_outputs_tflite


@pytest.mark.parametrize(
    ("before", "after", "mode", "in_float"),
    [
        (32, 20, "half_pixel", True),
        (20, 32, "half_pixel", False),
        (9, 32, "half_pixel", False),
        (9, 1024, "half_pixel", True),  # a step of 9 parts, and half a step
        (9, 1024, "asymmetric", False),
        (32, 20, "align_corners", True),
        (17, 33, "align_corners", False),
        (16, 32, "align_corners", True),
        (32, 20, "asymmetric", True),
    ],
)
def test_it_is_exact_in_both_directions(before: int, after: int, mode: str, in_float: bool) -> None:
    text = f"""
    <ir_version: 9, opset_import: ["" : 20]>
    g (float[1,1,{before},4] x) => (float[1,1,{after},8] y)
    <int64[4] sizes = {{1, 1, {after}, 8}}> {{
        r = Resize<mode="linear", coordinate_transformation_mode="{mode}">(x, , , sizes)
        y = Relu(r)
    }}"""
    if mode == "align_corners":  # 4 columns become 8 with a remainder
        text = text.replace(",4] x", ",5] x").replace(",8]", ",9]").replace(", 8}", ", 9}")
    model = ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(text)).model
    graph = optimize(model)
    shape = graph.graph.inputs[0].shape
    assert shape is not None
    samples = [(structured_input(shape.numpy(), seed).numpy(),) for seed in range(3)]
    quantized = quantize(graph, samples, QuantizeOptions(effort=0))
    variant = make_variant(Precision.INT16X8, graph, quantized, IoType.FLOAT32)
    lowered = lower(variant.tflite, finish=variant.finish)
    assert any("RESIZE_BILINEAR" in line for line in lowered.float_fallback) == in_float
    by_tflite = np.moveaxis(first_outputs_tflite(lowered.data, samples), -1, 2)
    # Both round to the same steps, which are 85 dB below the values or more.
    assert sqnr_db(first_outputs_onnx(variant.onnx, samples), by_tflite) > 80
