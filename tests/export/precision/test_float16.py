"""float16: half the size, close to the network, on every runtime."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from ai_edge_litert import schema_py_generated as schema
from torch import nn

from edgeconv.bundle import Format, IoType, Precision, Target
from edgeconv.errors import DataError, UnsupportedOperator, UsageError
from edgeconv.export import export
from edgeconv.export.precision.float16_onnx import float16_model
from edgeconv.export.precision.float16_tflite import LARGEST, halve_constants, to_half
from edgeconv.export.request import ExportRequest
from edgeconv.export.target import resolve_request
from edgeconv.export.tflite import lower
from edgeconv.metrics import sqnr_db
from support.precision import Samples, constants, first_outputs_onnx, first_outputs_tflite

pytestmark = pytest.mark.slow

# Half precision has 11 bits, which is 66 dB for one rounding; a few layers take some of it.
LEAST_SQNR_DB = 50.0


def test_onnx_computes_in_half_precision(
    graph: ir.Model, samples: Samples, expected: np.ndarray
) -> None:
    model = float16_model(graph)
    types = {value.dtype for value in model.graph.initializers.values()}
    assert ir.DataType.FLOAT not in types
    assert {value.dtype for value in graph.graph.initializers.values()} >= {ir.DataType.FLOAT}
    got = first_outputs_onnx(model, samples)
    assert got.dtype == np.float32
    assert sqnr_db(expected, got) > LEAST_SQNR_DB


def test_half_inputs_and_outputs(graph: ir.Model, samples: Samples, expected: np.ndarray) -> None:
    model = float16_model(graph, IoType.FLOAT16)
    got = first_outputs_onnx(model, [(sample[0].astype(np.float16),) for sample in samples])
    assert got.dtype == np.float16
    assert not any(node.op_type == "Cast" for node in model.graph)
    assert sqnr_db(expected, got) > LEAST_SQNR_DB


def test_tflite_stores_halves_and_computes_floats(
    graph: ir.Model, samples: Samples, expected: np.ndarray
) -> None:
    lowered = lower(graph, finish=halve_constants)
    large = [array for array, _ in constants(lowered.data) if array.dtype == np.float16]
    assert sum(array.size for array in large) > 5000
    assert lowered.operators["DEQUANTIZE"] == 3
    got = first_outputs_tflite(lowered.data, samples)
    assert got.dtype == np.float32
    assert sqnr_db(expected, got) > LEAST_SQNR_DB


def test_the_old_runtime_takes_it(graph: ir.Model, samples: Samples, tflite214: object) -> None:
    lowered = lower(graph, finish=halve_constants)
    image = np.ascontiguousarray(np.moveaxis(samples[0][0], 1, -1))
    (got,) = tflite214(bytes(lowered.data), {lowered.inputs[0].name: image}).values()  # type: ignore[operator]
    # Both compute in float32 with the same weights; the order of summation differs.
    np.testing.assert_allclose(
        got, first_outputs_tflite(lowered.data, samples[:1])[0], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("half_arithmetic", [False, True])
def test_a_file_says_whether_half_precision_will_do(
    graph: ir.Model, samples: Samples, expected: np.ndarray, half_arithmetic: bool
) -> None:
    finish = partial(halve_constants, half_arithmetic=half_arithmetic)
    lowered = lower(graph, finish=finish)
    model = schema.ModelT.InitFromPackedBuf(bytes(lowered.data), 0)
    found = {entry.name: bytes(model.buffers[entry.buffer].data) for entry in model.metadata or ()}
    wanted = {b"reduced_precision_support": b"fp16accfp16"} if half_arithmetic else {}
    assert found == wanted
    # A core without half-precision arithmetic computes in float32 all the same.
    assert sqnr_db(expected, first_outputs_tflite(lowered.data, samples)) > LEAST_SQNR_DB


def test_only_a_target_with_half_precision_arithmetic_is_given_it() -> None:
    with_it, without = (
        Target(
            device="ssh://pi",
            architecture="aarch64",
            bits=64,
            features=features,
            python="3.11.2",
            runtimes={"ai-edge-litert": "2.3.0"},
        )
        for features in (("NEON", "fp16 arithmetic"), ("NEON",))
    )
    asked = ExportRequest("network", precisions=[Precision.FLOAT16], formats=[Format.TFLITE])
    for target, chosen in ((with_it, True), (without, False), (None, False)):
        assert resolve_request(replace(asked, target=target)).half_arithmetic is chosen


def test_what_takes_float32_alone_keeps_it() -> None:
    # The scales of a Resize are float32 by the schema, whatever the data is.
    proto = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[1,2,4,4] x) => (float[1,2,8,8] y)
        <float[4] scales = {1, 1, 2, 2}, float[1] one = {1}>
        { a = Add(x, one)  y = Resize<mode = "nearest">(a, , scales) }
    """)
    proto = onnx.shape_inference.infer_shapes(proto)
    model = float16_model(ir.from_proto(proto))
    types = {str(v.name): v.dtype for v in model.graph.initializers.values()}
    assert types == {"scales": ir.DataType.FLOAT, "one_float16": ir.DataType.FLOAT16}
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    np.testing.assert_array_equal(
        first_outputs_onnx(model, [(x,)])[0], (x + 1).repeat(2, axis=2).repeat(2, axis=3)
    )


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min", "none"])
@pytest.mark.parametrize("operator", ["ScatterElements", "ScatterND"])
def test_scattered_sums_stay_float32(operator: str, reduction: str) -> None:
    """ONNX Runtime 1.31 fails on them when it runs: "MLFloat16 data type is not supported"."""
    shape = "2,3" if operator == "ScatterElements" else "2,1"
    proto = onnx.parser.parse_model(f"""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[4,3] x, float[2,3] u) => (float[4,3] y)
        <int64[{shape}] i = {{{"0, 0, 0, 1, 1, 1" if shape == "2,3" else "0, 1"}}}>
        {{ y = {operator}<reduction = "{reduction}">(x, i, u) }}
    """)
    proto = onnx.shape_inference.infer_shapes(proto)
    x, u = np.full((4, 3), 3, np.float32), np.full((2, 3), 2, np.float32)
    change = {"add": 5, "mul": 6, "max": 3, "min": 2, "none": 2}[reduction]
    expected = np.where(np.arange(4)[:, None] < 2, change, 3) * np.ones(3)
    model = float16_model(ir.from_proto(proto))
    np.testing.assert_array_equal(first_outputs_onnx(model, [(x, u)])[0], expected)


def test_a_constant_in_two_roles_is_stored_once_for_each() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (float[2] x) => (float[2] y, float[2] z)
        <float[2] c = {1, 2}>
        { y = Add(x, c)  z = Mul(y, c) }
    """)
    proto = onnx.shape_inference.infer_shapes(proto)
    model = float16_model(ir.from_proto(proto))
    assert list(model.graph.initializers) == ["c_float16"]
    np.testing.assert_array_equal(first_outputs_onnx(model, [(np.ones(2, np.float32),)])[0], [2, 3])


def test_weights_beyond_half_precision_are_refused_and_bounds_are_limited() -> None:
    large = np.array([1e5, -2.0], np.float32)
    with pytest.raises(DataError, match=r"weight 'w' reaches 1e\+05"):
        to_half(large, "w", {"Conv"})
    mask = np.array([np.finfo(np.float32).min, -np.inf, 0], np.float32)
    np.testing.assert_array_equal(to_half(mask, "m", {"Add"}), [-LARGEST, -np.inf, 0])


def test_control_flow_is_refused() -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 20]>
        g (bool c, float[2] x) => (float[2] y)
        {
          y = If (c) <
            then_branch = a () => (float[2] p) { p = Neg(x) },
            else_branch = b () => (float[2] q) { q = Abs(x) }
          >
        }
    """)
    with pytest.raises(UnsupportedOperator, match="float16"):
        float16_model(ir.from_proto(proto))


def test_files_are_half_as_large_and_verified(network: nn.Module, tmp_path: Path) -> None:
    bundle = export(
        network,
        out=tmp_path / "b",
        input_size=(3, 16, 16),
        precisions=[Precision.FLOAT32, Precision.FLOAT16],
    )
    size = {(a.format, a.precision): a.bytes for a in bundle.manifest.artifacts}
    for format in Format:
        # Half of 77 thousand weights, and the names and shapes of 16 operators.
        assert 0.48 < size[format, Precision.FLOAT16] / size[format, Precision.FLOAT32] < 0.54
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


def test_half_inputs_are_for_onnx(network: nn.Module, tmp_path: Path) -> None:
    request = {
        "out": tmp_path / "b",
        "input_size": (3, 16, 16),
        "precisions": [Precision.FLOAT16],
        "io": IoType.FLOAT16,
    }
    with pytest.raises(UsageError, match="float32 inputs"):
        export(network, **request)  # type: ignore[arg-type]
    bundle = export(network, formats=[Format.ONNX], **request)  # type: ignore[arg-type]
    (artifact,) = bundle.manifest.artifacts
    assert artifact.inputs[0].dtype == artifact.outputs[0].dtype == "float16"
