"""Sums of very many values take time by their number, and are added in the same order."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.capture.wide_sums import narrow_sums
from edgeconv.export.passes.sums import SumToAdd
from support.runtimes import run_onnx


def summed(count: int) -> onnx.ModelProto:
    """The parts of a row, and their sum."""
    names = [f"y_{index}" for index in range(count)]  # as the sums on the way would be called
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["x", "sizes"], names, axis=1),
            helper.make_node("Sum", names, ["y"], "total"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, count])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 1])],
        [numpy_helper.from_array(np.ones(count, np.int64), "sizes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_they_are_added_in_the_same_order() -> None:
    proto = summed(300)
    x = np.random.default_rng(0).standard_normal((2, 300), np.float32)
    before = run_onnx(proto, x)["y"]
    narrow_sums(proto)
    onnx.checker.check_model(proto, full_check=True)
    sums = [node for node in proto.graph.node if node.op_type == "Sum"]
    assert [len(node.input) for node in sums] == [65, 65, 65, 65, 44]
    assert sums[-1].name == "total"
    np.testing.assert_array_equal(run_onnx(proto, x)["y"], before)


def seconds(count: int) -> float:
    """What a Sum of so many inputs takes of the processor, at the least."""
    found = []
    for _ in range(3):
        proto = summed(count)
        started = time.process_time()
        narrow_sums(proto)
        model = ir.from_proto(proto)
        SumToAdd()(model)
        found.append(time.process_time() - started)
        assert sum(node.op_type == "Add" for node in model.graph) == count - 1
    return min(found)


@pytest.mark.slow
def test_twelve_thousand_take_no_time() -> None:
    """Each input that a Sum loses took time by the number of all, so that 8 times took 42 times."""
    assert seconds(12_000) < 24 * seconds(1_500)  # it takes 11 times as long
