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
from edgeconv.export.capture.sizes import most_bytes
from edgeconv.limits import NETWORK_BYTES, TENSOR_BYTES, LimitExceeded

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


MANY = 12


def grown(source: str, operator: str) -> list[onnx.NodeProto]:
    """Nodes that make 900 MB each, and one that needs all of them."""
    inputs = ["shape"] if operator == "ConstantOfShape" else [source, "shape"]
    big = [helper.make_node(operator, inputs, [f"b{n}"]) for n in range(MANY)]
    last = [
        helper.make_node("Sum", [f"b{n}" for n in range(MANY)], ["s"]),
        helper.make_node("ReduceMax", ["s"], ["m"], keepdims=0),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    return big + last


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand"])
def test_tensors_that_are_too_many(tmp_path: Path, operator: str) -> None:
    """Each is below the limit of one tensor; twelve of 900 MB and their sum are 11.7 GB."""
    shape = numpy_helper.from_array(np.array([15_000, 15_000]), "shape")
    path = save(tmp_path / "m.onnx", grown("x", operator), shape)
    with pytest.raises(LimitExceeded, match=r"at one time take 11\.7 GB, and the limit is 8\.00"):
        capture(path)


def test_tensors_that_come_one_after_the_other() -> None:
    """[1] → 12 of [1000] in a chain: two of them at a time, and the constant of 4000 bytes."""
    nodes = [
        helper.make_node("Add", ["x" if n == 0 else f"c{n}", "w"], [f"c{n + 1}"]) for n in range(12)
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("c12", TensorProto.FLOAT, [1000])
    weight = numpy_helper.from_array(np.ones(1000, np.float32), "w")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight]))
    assert most_bytes(onnx.shape_inference.infer_shapes(model)) == 4000 + 2 * 4000


def test_left_out_operands_are_no_values() -> None:
    """A Clip without its lower bound does not read the mask that a Dropout leaves out."""
    nodes = [
        helper.make_node("Dropout", ["x"], ["d", ""]),
        helper.make_node("Clip", ["w", "", "top"], ["c"]),
        helper.make_node("Add", ["d", "c"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1000]) for n in "xy")
    arrays = {"w": np.ones(1000, np.float32), "top": np.float32(1)}
    weights = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))
    kept = 4000 + 4 + 4000  # w, top and c, which is computed at export
    assert most_bytes(onnx.shape_inference.infer_shapes(model)) == kept + 2 * 4000


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
    monkeypatch.setenv(NETWORK_BYTES.variable, "41000000000")
    capture(path)
