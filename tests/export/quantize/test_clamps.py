"""A Relu whose result shares a scale that goes below zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower
from edgeconv.models.randomize import structured_input
from support.runtimes import onnx_session, run_onnx, tflite_interpreter

SHAPE = (1, 4, 8, 8)


def clamped_beside_negative() -> ir.Model:
    """Concat(Relu(Conv(x)), Conv(x)), which share a scale."""
    rng = np.random.default_rng(0)
    weights = ",".join(f"{number:.6f}" for number in rng.standard_normal(16))
    model = ir.from_onnx_text(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[1,4,8,8] x) => (float[1,8,8,8] y)'
        f" <float[4,4,1,1] w = {{{weights}}}>"
        "{ a = Conv(x, w) r = Relu(a) b = Conv(x, w) y = Concat<axis = 1>(r, b) }"
    )
    return ir.passes.common.ShapeInferencePass()(model).model


def test_the_convolution_in_front_is_integer_on_both_runtimes(tmp_path: Path) -> None:
    samples = [(structured_input(SHAPE, seed).numpy(),) for seed in range(4)]
    options = QuantizeOptions(integer_outputs=True)  # at the end, parts would not share a scale
    quantized = quantize(clamped_beside_negative(), samples, options).model
    relu = next(node for node in quantized.graph if node.op_type == "Relu")
    before = relu.inputs[0]
    assert before is not None
    assert (producer := before.producer()) is not None
    assert producer.op_type == "DequantizeLinear"

    proto = ir.to_proto(quantized)
    session = onnx_session(
        proto, fused=True, optimized_model_filepath=str(tmp_path / "optimized.onnx")
    )
    optimized = onnx.load(tmp_path / "optimized.onnx")
    kinds = [node.op_type for node in optimized.graph.node]
    assert kinds.count("QLinearConv") == 2

    x = samples[0][0]
    (expected,) = run_onnx(session, x).values()
    lowered = lower(quantized)
    interpreter = tflite_interpreter(lowered.data)
    names = [detail["op_name"] for detail in interpreter._get_ops_details()]
    assert not {"RELU", "MAXIMUM"} & set(names)
    got = interpreter.get_signature_runner()(x=x.transpose(0, 2, 3, 1))["y"]
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2), expected)
