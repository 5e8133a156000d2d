"""Functions of a file that are too many nodes, or that are called wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from edgeconv.cli import cli
from edgeconv.errors import CaptureError
from edgeconv.export.capture.onnx_file import capture_file

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def calling(name: str, callee: str, times: int) -> onnx.FunctionProto:
    names = ["a", *[f"t{at}" for at in range(times - 1)], "b"]
    nodes = [
        helper.make_node(callee, [names[at]], [names[at + 1]], domain="own") for at in range(times)
    ]
    return helper.make_function("own", name, ["a"], ["b"], nodes, OPSETS)


def file_of(
    functions: Sequence[onnx.FunctionProto], path: Path, inputs: Sequence[str] = ("x",)
) -> Path:
    """A graph that calls the last of the functions."""
    graph = helper.make_graph(
        [helper.make_node(functions[-1].name, inputs, ["y"], domain="own")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=9, functions=functions)
    onnx.save(model, path)
    return path


RELU = helper.make_function(
    "own", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], OPSETS
)


def refused(path: Path, said: str) -> None:
    with pytest.raises(CaptureError, match=said) as caught:
        capture_file(path, None, input_size=None, batch=None)
    assert caught.value.hint


def test_functions_that_double(tmp_path: Path) -> None:
    chain = [RELU, *[calling(f"F{at}", f"F{at - 1}", 2) for at in range(1, 26)]]
    path = file_of(chain, tmp_path / "m.onnx")
    refused(path, "functions are 33,554,432 nodes once")
    assert isinstance(CliRunner().invoke(cli, ["inspect", str(path)]).exception, CaptureError)


@pytest.mark.parametrize("length", [1, 2, 300])
def test_functions_in_a_circle_or_too_deep(length: int, tmp_path: Path) -> None:
    first = RELU if length == 300 else calling("F0", f"F{length - 1}", 1)
    chain = [first, *[calling(f"F{at}", f"F{at - 1}", 1) for at in range(1, length)]]
    refused(file_of(chain, tmp_path / "m.onnx"), "more than 100 deep or in a circle, as 'F")


def test_a_call_with_too_many_inputs(tmp_path: Path) -> None:
    path = file_of([RELU], tmp_path / "m.onnx", ["x", "x"])
    refused(path, "cannot be written out where they are called: Number of actual")
