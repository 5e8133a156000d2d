"""ONNX's own tests of single operators, run through the lowering: all of them.

A case has to give ONNX's figures on LiteRT, or to be refused for a reason that is listed here.
The end of the run says by operator what passed, what does not apply and why, and what failed.
ONNX computes the cases of a module as it is imported, which takes 20 s for all: each test imports
its own.

A case runs as it is; if that is refused, then with every input but the first made constant (axes,
sizes, weights), which is what they are in a network.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import traceback
import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.backend.test.case import node as node_cases

from edgeconv.bundle import Layout
from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import as_model
from support.runtimes import run_tflite

pytestmark = pytest.mark.slow

# The property that the summary is made of, in conftest.py, and what it says of a case that applies.
NODE_TEST = "onnx_node_test"
PASSED, FAILED = "passed", "failed"
OLDEST_OPSET = 13
TYPES = {
    *(TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL),
    *(TensorProto.INT8, TensorProto.UINT8, TensorProto.FLOAT16),
    *(TensorProto.INT16, TensorProto.UINT16, TensorProto.UINT32),
}

UNKNOWN_TYPES = {
    TensorProto.DOUBLE: "TFLite computes nothing in float64",
    TensorProto.UINT64: "TFLite computes nothing in uint64, and casts it to nothing",
    TensorProto.BFLOAT16: "the runtimes take no bfloat16 from Python",
    TensorProto.STRING: "strings",
}

REFUSALS = {
    "activations have no TFLite form|it computes with .*INT16|of type U?INT16": "codes of 16 bits",
    "bits of a float16": "the bits of a float16",
    "spatial dimensions": "more than three spatial dimensions",
    "training_mode": "training",
    "is used, which TFLite does not give": "a second output, for training or unpooling",
    "dynamic shape|shape of its result is computed": "only run time knows the shape of a result",
    "has no shape": "only run time knows the shape of a result",
    "number of its iterations": "only run time knows the number of iterations",
    "random numbers": "random numbers",
    "is of type (DOUBLE|FLOAT16)": "computes in a type that the export does not write",
    "scale and zero point are not constant": "only run time knows a scale",
    "cast (them|its inputs?) to int32": "TFLite has no kernel for int64",
    "their blocks|per-channel activations": "blocks with scales of their own",
    "its result has depends on the data": "only run time knows the shape of a result",
    "does not know this operator": "no TFLite form",
}
# The reference aligns the corners by the scale times the size; ONNX Runtime, and the text of the
# standard, by the size of the result.
ALIGNED = "the reference departs from the standard"
# Parameters that ONNX's tests feed as inputs, where the operator has no other.
PARAMETERS_ONLY = {
    *("BlackmanWindow", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow"),
    *("MelWeightMatrix", "Range"),
}
FOREIGN = {
    **dict.fromkeys(("Adagrad", "Adam", "Momentum"), "training"),
    "TfIdfVectorizer": "only run time knows the shape of a result",
    **dict.fromkeys(
        ("ArrayFeatureExtractor", "Binarizer", "TreeEnsemble", "ImageDecoder"), "no neural network"
    ),
    "OptionalGetElement": "a sequence or an optional value",
}
"""Operators without a TFLite form, and why."""

NOT_APPLICABLE = {
    "test_resize_downsample_scales_cubic_align_corners": ALIGNED,
    "test_resize_downsample_scales_linear_align_corners": ALIGNED,
    "test_scan_sum": "Scan of opset 8, which onnx does not convert",
    # It declares an output of another shape than it gives.
    "test_identity_opt": "an optional value",
}


def modules() -> list[str]:
    """The modules that make ONNX's cases, none of which is imported for it."""
    found = pkgutil.walk_packages(node_cases.__path__, f"{node_cases.__name__}.")
    names = [each.name.removeprefix(f"{node_cases.__name__}.") for each in found if not each.ispkg]
    return sorted(name for name in names if not name.startswith("_"))


@cache
def cases_of(module: str) -> dict[str, Any]:
    """The cases of a module by name, which it appends to a list as it is imported."""
    before = len(node_cases._NodeTestCases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"{node_cases.__name__}.{module}")
    return {case.name: case for case in node_cases._NodeTestCases[before:]}


def operator_of(name: str, cases: dict[str, Any]) -> str:
    """The operator that a case tests, for the body of a function as well."""
    plain = cases.get(re.sub(r"_expanded.*$", "", name), cases[name])
    return str(plain.model.graph.node[-1].op_type)


def foreign_type(model: onnx.ModelProto) -> str | None:
    """What an input or output is that the export does not write."""
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.HasField("tensor_type"):
            return "a sequence or an optional value"
        kind = value.type.tensor_type.elem_type
        if kind not in TYPES:
            name = TensorProto.DataType.Name(kind).lower()
            return UNKNOWN_TYPES.get(kind, f"TFLite has no {name}, or no runtime that takes it")
    return None


def as_array(item: Any) -> np.ndarray[Any, Any]:
    """An input or output of a case, which may be a TensorProto."""
    if isinstance(item, TensorProto):
        return onnx.numpy_helper.to_array(item)
    return np.asarray(item)


def with_constants(model: onnx.ModelProto, arrays: list[Any], first: int) -> onnx.ModelProto:
    """The model with the inputs from ``first`` on made constant."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value, array in zip(list(changed.graph.input)[first:], arrays[first:], strict=True):
        changed.graph.initializer.append(onnx.numpy_helper.from_array(as_array(array), value.name))
        changed.graph.input.remove(value)
    return changed


def current(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an opset that the export reads, converted as the export does."""
    if all(item.version >= OLDEST_OPSET for item in model.opset_import if not item.domain):
        return model
    return onnx.version_converter.convert_version(model, OLDEST_OPSET)


@pytest.mark.parametrize("module", modules())
def test_cases_of_a_module(module: str, record_property: pytest.RecordProperty) -> None:
    cases, failures, reasons = cases_of(module), [], []
    assert cases
    for name, case in cases.items():
        operator = operator_of(name, cases)
        try:
            reason = run_case(case, operator)
        except Exception as error:  # what one case fails with is no reason to leave out the others
            record_property(NODE_TEST, f"{operator}: {FAILED}")
            failures.append("".join([f"{name}: ", *traceback.format_exception(error)]))
            continue
        record_property(NODE_TEST, f"{operator}: {reason or PASSED}")
        reasons.append(reason)
    if failures:
        pytest.fail("\n".join(failures), pytrace=False)
    if all(reasons):
        pytest.skip(f"not applicable: {'; '.join(sorted(set(filter(None, reasons))))}")


def run_case(case: Any, operator: str) -> str | None:
    """Run a case.

    Returns:
        Why it does not apply, if it does not.
    """
    kind = foreign_type(case.model)
    if case.name in NOT_APPLICABLE:
        return NOT_APPLICABLE[case.name]
    if kind is not None:
        return kind
    inputs, expected = case.data_sets[0]
    names = [value.name for value in case.model.graph.input]
    refusal: UnsupportedOperator | None = None
    for first in (len(names), 0 if operator in PARAMETERS_ONLY else 1):
        model = current(with_constants(case.model, inputs, first))
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        try:
            lowered = lower(as_model(inferred), layout=Layout.NCHW)
        except UnsupportedOperator as error:
            refusal = error
            continue
        wanted = {info.name for info in lowered.inputs}
        feeds = {
            key: as_array(array) for key, array in zip(names, inputs, strict=True) if key in wanted
        }
        results = run_tflite(lowered.data, feeds)
        for value, reference in zip(case.model.graph.output, expected, strict=True):
            result, reference = results[value.name], as_array(reference)
            assert result.shape == reference.shape
            np.testing.assert_allclose(result, reference, rtol=max(case.rtol, 1e-4), atol=1e-4)
        return None
    reasons = [REFUSALS[reason] for reason in REFUSALS if re.search(reason, str(refusal))]
    if "does not know this operator" in str(refusal):
        reasons = [FOREIGN[operator]] if operator in FOREIGN else reasons
    assert reasons, refusal
    return reasons[0]
