"""ONNX's shape inference does not hold each number of a long Range as a dimension."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.shape_inference import with_shapes

MANY = 20_000_000


def model(nodes: list[onnx.NodeProto], functions: list[onnx.FunctionProto]) -> onnx.ModelProto:
    """A graph that makes r from the numbers zero, one and many, and casts it."""
    numbers = {"zero": 0, "one": 1, "many": MANY}
    graph = helper.make_graph(
        [*nodes, helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT)],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(each, np.int64), name) for name, each in numbers.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)


def within(nodes: list[onnx.NodeProto]) -> list[onnx.FunctionProto]:
    """A function of the three numbers."""
    opsets = [helper.make_opsetid("", 20)]
    return [helper.make_function("local", "Places", ["zero", "many", "one"], ["r"], nodes, opsets)]


def range_to(limit: str) -> onnx.NodeProto:
    return helper.make_node("Range", ["zero", limit, "one"], ["r"])


STATED = helper.make_node("Constant", [], ["n"], value_int=MANY)
CALL = helper.make_node("Places", ["zero", "many", "one"], ["r"], domain="local")
MODELS = {
    "initializer": model([range_to("many")], []),
    "attribute": model([STATED, range_to("n")], []),
    "argument of a function": model([CALL], within([range_to("many")])),
    "constant of a function": model([CALL], within([STATED, range_to("n")])),
}


@pytest.mark.parametrize("place", MODELS)
def test_a_long_range_takes_no_time(place: str) -> None:
    """A Cast of 20 million took 8 s, where the limit was no tensor of the graph itself."""
    started = time.process_time()
    inferred = with_shapes(MODELS[place])
    assert time.process_time() - started < 2  # of which none is needed
    (dim,) = inferred.graph.output[0].type.tensor_type.shape.dim
    assert dim.dim_value == MANY


def test_a_short_range_in_a_function_is_known() -> None:
    proto = model([CALL], within([range_to("many")]))
    proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(np.array(5), "many"))
    (dim,) = with_shapes(proto).graph.output[0].type.tensor_type.shape.dim
    assert dim.dim_value == 5
