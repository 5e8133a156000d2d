"""Files in float64, float16 and bfloat16, and files that only store integer weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgeconv.bundle import Bundle
from edgeconv.export import export
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.runtimes import open_runner
from edgeconv.metrics import sqnr_db
from support.runtimes import run_onnx

Array = npt.NDArray[Any]


def reals(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape) * 0.3


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    types: tuple[int, int],
    shapes: tuple[Sequence[int | str], Sequence[int | str]],
    opset: int = 17,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", types[0], shapes[0])],
        [helper.make_tensor_value_info("y", types[1], shapes[1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def vision(path: Path, dtype: npt.DTypeLike, border: npt.DTypeLike) -> Path:
    """Conv, Relu, pool and MatMul that compute in ``dtype`` between casts."""
    own, outer = (helper.np_dtype_to_tensor_dtype(np.dtype(each)) for each in (dtype, border))
    constants = {"w": reals(4, 3, 3, 3), "b": reals(4), "m": reals(4, 5)}
    nodes = [
        node("Cast", "x", "i", to=own),
        node("Conv", "i w b", "c", pads=[1] * 4),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f m", "o"),
        node("Cast", "o", "y", to=outer),
    ]
    typed = {name: array.astype(dtype) for name, array in constants.items()}
    return save(path, nodes, typed, (outer, outer), ((1, 3, 8, 8), (1, 5)))


def outputs(bundle: Bundle, x: Array) -> dict[str, Array]:
    found = {}
    for artifact in bundle.manifest.artifacts:
        file = bundle.file(artifact)
        runner = open_runner(
            file, artifact.format, artifact.inputs, artifact.outputs, bundle.manifest
        )
        found[artifact.path] = runner.run([x])[0]
    return found


# Half precision rounds by 2**-11, which is 66 dB for each number; a few of them add up. Eight bits
# have about 40 dB.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "border", "floor"),
    [("float64", "float64", 120.0), ("float64", "float32", 120.0), ("float16", "float16", 55.0)],
)
def test_other_floats_become_float32_and_int8(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dtype: str, border: str, floor: float
) -> None:
    path = vision(tmp_path / "n.onnx", dtype, border)
    samples = reals(24, 3, 8, 8, seed=1).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples)
    bundle = export(path, out=tmp_path / "out", calibration=tmp_path / "samples.npy")
    assert f"computes in {dtype}; the files compute in float32" in caplog.text
    x = reals(1, 3, 8, 8, seed=2).astype(border)
    (expected,) = ReferenceEvaluator(str(path)).run(None, {"x": x})  # ONNX Runtime has no such Conv
    found = outputs(bundle, x)
    assert len(found) == 4
    for name, got in found.items():
        assert sqnr_db(expected, got) > (30.0 if "int8" in name else floor), name
    declared = "float16" if border == "float16" else "float32"
    assert {info.dtype for info in bundle.manifest.inputs + bundle.manifest.outputs} == {declared}


def test_sizes_are_computed_in_float64_before(tmp_path: Path) -> None:
    # In float32, 100000001 is 100000000, and one column would be lost.
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s one", "n"),
        node("Cast", "n", "d", to=TensorProto.DOUBLE),
        node("Add", "d large", "e"),
        node("Sub", "e less", "g"),
        node("Cast", "g", "k", to=TensorProto.INT64),
        node("Reshape", "x k", "y"),
    ]
    constants = {"one": np.array([1]), "large": np.array([1e8 + 1]), "less": np.array([1e8 + 1])}
    types = (TensorProto.FLOAT, TensorProto.FLOAT)
    path = save(tmp_path / "n.onnx", nodes, constants, types, ((1, 7), (7,)))
    bundle = export(path, out=tmp_path / "out")
    x = reals(1, 7).astype(np.float32)
    for got in outputs(bundle, x).values():
        assert np.array_equal(got, x.reshape(7))


@pytest.mark.slow
@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_stored_as_integers_are_kept(tmp_path: Path, per_channel: bool) -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.01, 0.02, 6 if per_channel else ()).astype(np.float32)
    constants = {
        "q": rng.integers(-127, 128, (16, 6)).astype(np.int8),
        "s": scale,
        "t": rng.integers(0, 256, (20, 16)).astype(np.uint8),
        "u": np.float32(0.02),
        "z": np.uint8(117),
    }
    nodes = [
        node("Gather", "t x", "rows"),
        node("DequantizeLinear", "rows u z", "e"),
        node("DequantizeLinear", "q s", "w", axis=1),
        node("MatMul", "e w", "y"),
    ]
    types = (TensorProto.INT64, TensorProto.FLOAT)
    path = save(tmp_path / "n.onnx", nodes, constants, types, ((1, 5), (1, 5, 6)))
    bundle = export(path, out=tmp_path / "out", precisions=["float32", "int8-dynamic"])
    x = np.array([[0, 19, 3, 3, 7]])
    expected = run_onnx(path, {"x": x})["y"]
    for name, got in outputs(bundle, x).items():
        assert sqnr_db(expected, got) > (30.0 if "int8" in name else 120.0), name
    constants_written = onnx.load(bundle.path / "n_int8-dynamic.onnx").graph.initializer
    assert any(
        np.array_equal(numpy_helper.to_array(each), constants["q"]) for each in constants_written
    )


class Mixed(nn.Module):
    """A network that sums in float64 and rounds to bfloat16 on its way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.conv(x).double() * torch.linspace(0, 1, 4, dtype=torch.float64).reshape(4, 1, 1)
        y = y + torch.arange(6, dtype=torch.float64)
        return {
            "shares": torch.softmax(y, 1),
            "centered": (y - y.mean()).float(),
            "rounded": y.sum((2, 3)).bfloat16(),
        }


@pytest.mark.slow
def test_a_module_that_computes_in_other_floats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Mixed().eval()
    bundle = export(
        network, out=tmp_path / "out", input_size=InputShape((1, 3, 8, 8)), verify=False
    )
    assert "Mixed computes in bfloat16 and float64; the files compute in float32" in caplog.text
    x = reals(1, 3, 8, 8, seed=2).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(x))
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        got = dict(zip([info.name for info in artifact.outputs], runner.run([x]), strict=True))
        for name in ("shares", "centered"):
            # Sums of 27 products of numbers near 1 in float32.
            np.testing.assert_allclose(got[name], expected[name].numpy(), rtol=1e-5, atol=1e-5)
        # bfloat16 has eight bits.
        np.testing.assert_allclose(got["rounded"], expected["rounded"].float(), rtol=2**-7)
