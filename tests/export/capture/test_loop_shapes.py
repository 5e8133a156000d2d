"""Loops whose carried values state no shapes, against ONNX Runtime in both formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export import Format, export
from edgeconv.export.runtimes import open_runner
from support.runtimes import run_onnx

FLOAT = TensorProto.FLOAT


def value(name: str, dtype: int = FLOAT, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def loop(
    nodes: Sequence[onnx.NodeProto], inputs: str, outputs: str, result: str, prefix: str = ""
) -> onnx.NodeProto:
    """A loop of three iterations over ``nodes``, which carries ``x`` on as the first of inputs."""
    carried, made = inputs.split(), outputs.split()
    going = f"{prefix}going"
    body = helper.make_graph(
        [helper.make_node("Identity", [going], [f"{going}_on"]), *nodes],
        "body",
        [
            value(f"{prefix}i", TensorProto.INT64, []),
            value(going, TensorProto.BOOL, []),
            *map(value, carried),
        ],
        [value(f"{going}_on", TensorProto.BOOL), *map(value, made)],
    )
    given = ["trips", "true", *["x", "w"][: len(carried)]]
    return helper.make_node("Loop", given, result.split(), body=body)


def halved(prefix: str = "", source: str = "s") -> list[onnx.NodeProto]:
    """Through a Reshape by its own Shape, which is only known where the shape is."""
    node = helper.make_node
    return [
        node("Mul", [source, "half"], [f"{prefix}m"]),
        node("Add", [f"{prefix}m", "x"], [f"{prefix}a"]),
        node("Shape", [f"{prefix}a"], [f"{prefix}sh"]),
        node("Reshape", [f"{prefix}a", "flat"], [f"{prefix}f"]),
        node("Reshape", [f"{prefix}f", f"{prefix}sh"], [f"{prefix}t"]),
    ]


def save(path: Path, loop: onnx.NodeProto, outputs: Sequence[str]) -> Path:
    constants = {
        "trips": np.int64(3),
        "true": np.array(True),
        "half": np.float32(0.5),
        "flat": np.array([-1], np.int64),
        "w": np.linspace(-1, 1, 4, dtype=np.float32).reshape(1, 4),
    }
    ends = [helper.make_node("Neg", [name], [f"{name}_end"]) for name in outputs]
    graph = helper.make_graph(
        [loop, *ends],
        "g",
        [value("x", shape=[2, 4])],
        [value(f"{name}_end") for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


MEAN = helper.make_node("ReduceMean", ["t"], ["row"], keepdims=0, axes=[0])
NESTED = loop([*halved("inner_", "v")], "v", "inner_t", "n", prefix="inner_")
CASES = {
    "carried": loop(halved(), "s", "t", "y"),
    "rows": loop([*halved(), MEAN], "s", "t row", "y rows"),
    "two": loop(
        [*halved(), helper.make_node("Add", ["u", "u"], ["u2"])], "s u", "t u2", "y doubled"
    ),
    "nested": loop([NESTED, helper.make_node("Add", ["n", "s"], ["t"])], "s", "t", "y"),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_that_stay_the_same(name: str, tmp_path: Path) -> None:
    outputs = list(CASES[name].output)
    path = save(tmp_path / "n.onnx", CASES[name], outputs)
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    expected = list(run_onnx(path, {"x": x}).values())
    bundle = export(path, out=tmp_path / "out")
    assert len(bundle.manifest.artifacts) == 2
    for artifact in bundle.manifest.artifacts:
        runner = open_runner(
            bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs
        )
        for got, wanted in zip(runner.run([x]), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


def test_a_shape_that_grows_is_not_stated(tmp_path: Path) -> None:
    grown = [
        helper.make_node("Concat", ["s", "x"], ["t"], axis=0),
        helper.make_node("ReduceSum", ["s"], ["u2"], keepdims=0),
    ]
    path = save(tmp_path / "n.onnx", loop(grown, "s u", "t u2", "y total"), ["y", "total"])
    with pytest.raises(CaptureError, match="not known before the network runs"):
        export(path, out=tmp_path / "out", formats=[Format.ONNX])
