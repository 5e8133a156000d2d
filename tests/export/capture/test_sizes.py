"""A small file that asks for gigabytes is refused before anything is allocated."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.limits import TENSOR_BYTES, LimitExceeded

INTS = TensorProto.INT64


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """An allocation of the tensors below would fail: they take 40 GB."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def save(path: Path, nodes: list[onnx.NodeProto], *constants: TensorProto) -> Path:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], list(constants))
    opsets = [helper.make_opsetid("", 20)]
    path.write_bytes(
        helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString()
    )
    assert path.stat().st_size < 2000
    return path


def capture(path: Path) -> None:
    capture_file(path, None, input_size=None, batch=None)


SHAPE = numpy_helper.from_array(np.array([100_000, 100_000]), "shape")
HUGE = {
    "ConstantOfShape": [
        helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ],
    "Expand": [
        helper.make_node("Expand", ["x", "shape"], ["big"], name="grow"),
        helper.make_node("ReduceMax", ["big"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ],
    "Tile": [
        helper.make_node("Unsqueeze", ["x", "zero"], ["x2"]),
        helper.make_node("Tile", ["x2", "shape"], ["big"]),
        helper.make_node("ReduceMax", ["big"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ],
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_node_that_makes_gigabytes(tmp_path: Path, kind: str) -> None:
    zero = numpy_helper.from_array(np.array([0]), "zero")
    path = save(tmp_path / "m.onnx", HUGE[kind], SHAPE, *([zero] if kind == "Tile" else []))
    with pytest.raises(LimitExceeded) as caught:
        capture(path)
    assert "takes 40.0 GB, and the limit is 1.00 GB" in caught.value.message
    assert kind in caught.value.message
    assert caught.value.hint == "if that is right, set EDGECONV_MAX_TENSOR_BYTES=40000000000"


def test_a_constant_that_states_gigabytes(tmp_path: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[100_000, 100_000])
    weight.raw_data = b"\0" * 8
    path = save(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], weight)
    with pytest.raises(LimitExceeded, match=r"the constant 'w' takes 40\.0 GB"):
        capture(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"raw_data": b"\0" * 9},
        {"raw_data": b""},
        {"data_type": TensorProto.DOUBLE},
        {"dims": [3]},
        {"dims": [-1]},
        {"data_type": 99},
    ],
    ids=str,
)
def test_data_that_are_not_what_the_type_says(tmp_path: Path, changes: dict[str, object]) -> None:
    weight = numpy_helper.from_array(np.ones(2, np.float32), "w")
    for name, value in changes.items():
        weight.ClearField(name)
        if isinstance(value, list):
            weight.dims.extend(value)
        else:
            setattr(weight, name, value)
    nodes = [helper.make_node("Add", ["x", "w"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    with pytest.raises(CaptureError, match="w"):
        capture(save(tmp_path / "m.onnx", nodes, weight))


def test_the_limit_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "m.onnx", HUGE["Expand"], SHAPE)
    monkeypatch.setenv(TENSOR_BYTES.variable, "40000000000")
    capture(path)
