"""Ranges of which ONNX's inference would hold each number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from edgeconv.cli import cli
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.limits import LimitExceeded


def counted(path: Path, limit: int) -> Path:
    """The sum of all numbers below ``limit``, added to an input."""
    nodes = [
        helper.make_node("Range", ["zero", "limit", "one"], ["r"], name="count"),
        helper.make_node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.array(number), name)
            for name, number in {"zero": 0, "limit": limit, "one": 1}.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_one_that_no_memory_holds(tmp_path: Path) -> None:
    path = counted(tmp_path / "m.onnx", 2**40)
    with pytest.raises(LimitExceeded, match=r"m\.onnx: count \(Range\) makes a tensor of 8.80 TB"):
        capture_file(path, None, input_size=None, batch=None)
    assert CliRunner().invoke(cli, ["inspect", str(path)]).exit_code == 0


def test_one_of_ten_million_is_read_at_once(tmp_path: Path) -> None:
    """Inference that takes values along takes minutes for it, and gigabytes."""
    graph = capture_file(
        counted(tmp_path / "m.onnx", 10**7), None, input_size=None, batch=None
    ).graph
    shapes = {value.name: value.shape for node in graph.graph for value in node.outputs}
    assert shapes["r"] == (10**7,)
    assert shapes["y"] == (1, 4)
