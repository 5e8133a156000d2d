"""ONNX's own tests of single operators, run through the lowering.

A case takes part if every operator of it is known and every type is one that the export writes.
It has to give ONNX's figures, or be refused for one of the reasons below; ``pytest -rs`` lists
those that are.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.backend.test.loader import load_model_tests
from tflite_harness import as_model, run_tflite

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower, supported_operators

# Those that are computed at export wherever their inputs are known.
FOLDED = {"Constant", "ConstantOfShape", "EyeLike", "Range", "Shape", "Size"}
KNOWN = {*supported_operators(), *FOLDED}
TYPES = {TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}

REFUSALS = {
    "the model uses opset": "older than what the export reads",
    "spatial dimensions": "TFLite's kernels have two or three",
    "dilations are": "TFLite's average pools have none",
    "training_mode": "a file for inference",
    "fmod is 1": "TFLite has the other remainder",
    "is used, which TFLite does not give": "an output for training or unpooling",
    "dynamic shape|shape of its result is computed": "decided by values that only run time knows",
    "has no shape": "ONNX infers none",
    "has no elements": "TFLite's kernels do not take empty tensors",
    "coordinate_transformation_mode": "a crop with a resize",
    "it takes a diagonal|an operand broadcasts|operands;": "not a product of matrices",
    "scale and zero point are not constant": "TFLite fixes them in the file",
    "two types": "TFLite's POW has one",
    "is computed by the network|are computed by the network": "TFLite wants it in the file",
    "pads by negative amounts": "a crop",
    "it has peepholes": "not unrolled",
    "reduction is (mul|max|min)": "TFLite's SCATTER_ND adds",
}
# TFLite takes indices from zero up, and only constant ones can be made so.
RUNTIME_REFUSALS = {"test_gather_negative_indices", "test_pow_types_int64_int64"}
# The reference aligns the corners by the scale times the size; ONNX Runtime, and the text of the
# standard, by the size of the result.
ALIGNED = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}
# The reference declares an output of another shape than it gives.
WRONG_SHAPE = {"test_identity_opt"}


def types_of(model: onnx.ModelProto) -> set[int]:
    values = [*model.graph.input, *model.graph.output]
    return {value.type.tensor_type.elem_type for value in values}


@cache
def cases() -> dict[str, Any]:
    return {
        case.name: case
        for case in load_model_tests(kind="node")
        if {node.op_type for node in case.model.graph.node} <= KNOWN
        and types_of(case.model) <= TYPES
        and case.name not in RUNTIME_REFUSALS | WRONG_SHAPE | ALIGNED
    }


def with_constants(model: onnx.ModelProto, arrays: list[Any]) -> onnx.ModelProto:
    """The model with every input but the first made constant: axes, sizes, weights."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value, array in zip(list(changed.graph.input)[1:], arrays[1:], strict=True):
        changed.graph.initializer.append(
            onnx.numpy_helper.from_array(np.asarray(array), value.name)
        )
        changed.graph.input.remove(value)
    return changed


@pytest.mark.parametrize("name", sorted(cases()))
def test_case(name: str) -> None:
    case = cases()[name]
    inputs, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    refusal: UnsupportedOperator | None = None
    for model in (case.model, with_constants(case.model, inputs)):
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        try:
            lowered = lower(as_model(inferred), layout=Layout.NCHW)
        except UnsupportedOperator as error:
            refusal = error
            continue
        wanted = {info.name for info in lowered.inputs}
        feeds = {
            key: np.asarray(array)
            for key, array in zip(names, inputs, strict=True)
            if key in wanted
        }
        results = run_tflite(lowered.data, feeds)
        for value, reference in zip(case.model.graph.output, expected, strict=True):
            result = results[value.name]
            assert result.shape == np.asarray(reference).shape
            np.testing.assert_allclose(result, reference, rtol=max(case.rtol, 1e-4), atol=1e-4)
        return
    assert refusal is not None
    reasons = [REFUSALS[reason] for reason in REFUSALS if re.search(reason, str(refusal))]
    assert reasons, refusal
    pytest.skip(f"not applicable: {reasons[0]} ({refusal})")
