"""Files that ONNX Runtime's ``quantize_dynamic`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from edgeconv.bundle import Bundle, Precision
from edgeconv.errors import CaptureError
from edgeconv.export import export
from edgeconv.export.precision.int8_weights import exact_scale, int8_weights
from edgeconv.export.runtimes import open_runner
from edgeconv.metrics import sqnr_db
from support.runtimes import run_onnx

Array = npt.NDArray[Any]

# Eight bits of a bell-shaped activation have about 40 dB; a wrong scale or zero point has below 10.
ROUNDED_ONCE = 33.0


def reals(*shape: int, seed: int = 0) -> Array:
    rng = np.random.default_rng([seed, *shape])
    return (rng.standard_normal(shape) * 0.3).astype(np.float32)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    x: Array,
    shape: Sequence[int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def vision(path: Path) -> tuple[Path, Array]:
    constants = {"w": reals(8, 3, 3, 3), "b": reals(8), "m": reals(8, 5), "n": reals(5)}
    nodes = [
        node("Conv", "x w b", "c", pads=[1] * 4),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f m n", "y"),
    ]
    x = reals(1, 3, 8, 8, seed=1)
    return save(path, nodes, constants, x, (1, 5)), x


def dense(path: Path) -> tuple[Path, Array]:
    constants = {"m": reals(16, 24), "b": reals(24), "n": reals(24, 6)}
    nodes = [
        node("MatMul", "x m", "a"),
        node("Add", "a b", "s"),
        node("Tanh", "s", "t"),
        node("MatMul", "t n", "y"),
    ]
    x = reals(1, 7, 16, seed=1)
    return save(path, nodes, constants, x, (1, 7, 6)), x


def lstm(path: Path) -> tuple[Path, Array]:
    constants = {"w": reals(2, 24, 5), "r": reals(2, 24, 6), "b": reals(2, 48), "m": reals(6, 3)}
    constants["axes"] = np.array([1])
    nodes = [
        node("LSTM", "x w r b", "l", hidden_size=6, direction="bidirectional"),
        node("ReduceSum", "l axes", "s", keepdims=0),
        node("MatMul", "s m", "y"),
    ]
    x = reals(7, 1, 5, seed=1)
    return save(path, nodes, constants, x, (7, 1, 3)), x


def embedding(path: Path) -> tuple[Path, Array]:
    constants = {"e": reals(20, 8), "m": reals(8, 8), "n": reals(8, 4)}
    nodes = [
        node("Gather", "e x", "g"),
        node("MatMul", "g m", "a"),
        node("Transpose", "a", "t", perm=[0, 2, 1]),
        node("MatMul", "a t", "p"),
        node("Softmax", "p", "q"),
        node("MatMul", "q a", "u"),
        node("MatMul", "u n", "y"),
    ]
    x = np.array([[3, 1, 19, 0, 4, 4]])
    return save(path, nodes, constants, x, (1, 6, 4)), x


NETWORKS = {"vision": vision, "dense": dense, "lstm": lstm, "embedding": embedding}


def quantized(path: Path, name: str, **options: Any) -> tuple[Path, Array]:
    float_file, x = NETWORKS[name](path.with_name("float.onnx"))
    quantize_dynamic(float_file, path, **options)
    return path, x


def signals(bundle: Bundle, x: Array, expected: Array) -> dict[str, float]:
    """The SQNR of each file, by precision and format."""
    found = {}
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(
            file, artifact.format, artifact.inputs, artifact.outputs, bundle.manifest
        )
        key = f"{artifact.precision.value} {artifact.format.value}"
        found[key] = sqnr_db(expected, runner.run([x])[0])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("optimized", [False, True], ids=["as written", "optimized"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vision", {"op_types_to_quantize": ["Conv", "Gemm"], "weight_type": QuantType.QUInt8}),
        ("dense", {"per_channel": True}),
        ("dense", {"weight_type": QuantType.QUInt8}),
        ("lstm", {}),
        ("embedding", {}),
        ("embedding", {"extra_options": {"MatMulConstBOnly": False}}),
    ],
)
def test_files_compute_what_onnx_runtime_computes(
    tmp_path: Path, name: str, options: dict[str, Any], optimized: bool
) -> None:
    path, x = quantized(tmp_path / "n.onnx", name, **options)
    expected = run_onnx(path, {"x": x})["y"]
    if optimized:
        settings = ort.SessionOptions()
        settings.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        settings.graph_optimization_level = level
        ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        path = tmp_path / "optimized.onnx"
    bundle = export(path, out=tmp_path / "out", precisions=["float32", "int8-dynamic"])
    found = signals(bundle, x, expected)
    assert len(found) == 4
    assert min(found.values()) > ROUNDED_ONCE, found


@pytest.mark.slow
def test_int8_weights_are_kept_exactly(tmp_path: Path) -> None:
    path, x = quantized(tmp_path / "n.onnx", "dense", per_channel=True)
    bundle = export(path, out=tmp_path / "out", precisions=["int8-dynamic"])
    constants = {each.name: each for each in onnx.load(path).graph.initializer}
    stored = [numpy_helper.to_array(constants[f"{name}_quantized"]) for name in ("m", "n")]
    written = [
        numpy_helper.to_array(each)
        for each in onnx.load(bundle.path / "n_int8-dynamic.onnx").graph.initializer
        if each.data_type == TensorProto.INT8 and len(each.dims) == 2
    ]
    assert len(written) == 2
    for array in stored:
        assert any(np.array_equal(array, other) for other in written)
    # The same integers: only the order in which two scales and a bias are applied is another.
    assert signals(bundle, x, run_onnx(path, {"x": x})["y"])["int8-dynamic onnx"] > 100


def test_own_int8_dynamic_files_can_be_read_again(tmp_path: Path) -> None:
    path, x = vision(tmp_path / "n.onnx")
    first = export(path, out=tmp_path / "out", formats=["onnx"], precisions=["int8-dynamic"])
    file = first.file(first.manifest.artifacts[0])
    again = export(file, out=tmp_path / "again", formats=["onnx"], precisions=["int8-dynamic"])
    assert again.manifest.artifacts[0].precision is Precision.INT8_DYNAMIC
    assert signals(again, x, run_onnx(file, {"x": x})["y"])["int8-dynamic onnx"] > 100


def test_integers_that_are_not_scaled_back_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"], "product"),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Relu", "f", "y"),
    ]
    constants = {"w": np.arange(12, dtype=np.int8).reshape(4, 3)}
    path = save(tmp_path / "n.onnx", nodes, constants, reals(2, 4), (2, 3))
    with pytest.raises(CaptureError, match=r"product \(MatMulInteger\).*scales of both") as caught:
        export(path, out=tmp_path / "out")
    assert "int8-dynamic" in caught.value.hint


@given(
    codes=st.lists(st.integers(-127, 127), min_size=1, max_size=40).filter(any),
    scale=st.floats(2.0**-20, 2.0**10, width=32),
)
def test_whole_multiples_of_a_scale_are_found_again(codes: list[int], scale: float) -> None:
    numbers = np.asarray(codes, np.float32) * np.float32(scale)
    found = exact_scale(numbers)
    assert found is not None
    assert np.array_equal(np.rint(numbers / found).astype(np.float32) * found, numbers)
    assert np.abs(np.rint(numbers / found)).max() <= 127


def test_other_numbers_have_the_usual_scale() -> None:
    weight = reals(4, 50)
    weight[2] = 0
    assert exact_scale(weight[0]) is None
    scale = int8_weights(weight, 0).scale
    assert scale[0] == np.float32(np.abs(weight[0]).max().astype(np.float64) / 127)
    assert (scale > 0).all()
