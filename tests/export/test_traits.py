"""The table of operator facts, held against what ONNX's own reference implementation computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeconv.export.quantize.operators import OPERATORS, Kind
from edgeconv.export.traits import Trait, operators

OPSET = 24
Array = np.ndarray
SHAPE = (1, 4, 6, 6)

INPUTS: dict[str, list[Array]] = {
    "Clip": [np.float32(0), np.float32(1.5)],
    "PRelu": [np.full((4, 1, 1), 0.3, np.float32)],
    "Add": [np.ones(SHAPE, np.float32)],
    "Mul": [np.full(SHAPE, 0.5, np.float32)],
    "Max": [np.zeros(SHAPE, np.float32)],
    "Min": [np.zeros(SHAPE, np.float32)],
    "Concat": [np.zeros(SHAPE, np.float32)],
    "Reshape": [np.array([1, 4, 36], np.int64)],
    "Squeeze": [np.array([0], np.int64)],
    "Unsqueeze": [np.array([2], np.int64)],
    "Expand": [np.array([2, 4, 6, 6], np.int64)],
    "Tile": [np.array([1, 1, 2, 1], np.int64)],
    "Gather": [np.array([2, 0], np.int64)],
    "GatherElements": [np.zeros((1, 2, 6, 6), np.int64)],
    "GatherND": [np.array([[0, 1]], np.int64)],
    "Slice": [np.array([0, 1], np.int64), np.array([1, 3], np.int64)],
    "ReduceMax": [np.array([2, 3], np.int64)],
    "ReduceMean": [np.array([2, 3], np.int64)],
    "ReduceMin": [np.array([2, 3], np.int64)],
}
ATTRIBUTES: dict[str, dict[str, object]] = {
    "MaxPool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "AveragePool": {"kernel_shape": [3, 3]},
    "Concat": {"axis": 1},
    "Gather": {"axis": 1},
    "GatherElements": {"axis": 1},
    "DepthToSpace": {"blocksize": 2},
    "SpaceToDepth": {"blocksize": 2},
    "Split": {"num_outputs": 2, "axis": 1},
}
RUN = operators(~(Trait.WEIGHTED | Trait.RECURRENT | Trait.NORMALIZES)) - {"Div"}


def compute(op_type: str, x: Array) -> Array:
    others = INPUTS.get(op_type, [])
    names = ["x", *(f"i{index}" for index in range(len(others)))]
    outputs = ["y", "z"] if op_type == "Split" else ["y"]
    node = helper.make_node(op_type, names, outputs, **ATTRIBUTES.get(op_type, {}))
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    constants = [
        onnx.numpy_helper.from_array(array, name)
        for name, array in zip(names[1:], others, strict=True)
    ]
    graph = helper.make_graph([node], "g", [info], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    (array,) = ReferenceEvaluator(model).run(None, {"x": x})
    return array


@pytest.fixture
def x() -> Array:
    return np.random.default_rng(0).normal(0, 2, SHAPE).astype(np.float32)


def for_each(trait: Trait) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("op_type", sorted(operators(trait) & RUN))


@for_each(Trait.FUNCTION)
def test_a_function_computes_each_element_by_itself(op_type: str, x: Array) -> None:
    x = np.abs(x) + 0.1
    y = compute(op_type, x)
    order = np.random.default_rng(1).permutation(x.size)
    moved = compute(op_type, x.reshape(-1)[order].reshape(SHAPE))
    np.testing.assert_allclose(moved.reshape(-1), y.reshape(-1)[order], rtol=1e-6)


@for_each(Trait.POOLS)
def test_a_pool_treats_each_channel_by_itself(op_type: str, x: Array) -> None:
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(compute(op_type, x[:, order]), compute(op_type, x)[:, order])


@for_each(Trait.MOVES)
def test_moved_elements_are_elements_of_the_input(op_type: str, x: Array) -> None:
    known = np.concatenate([x.reshape(-1), *(i.reshape(-1) for i in INPUTS.get(op_type, []))])
    assert np.isin(compute(op_type, x), known).all()


@for_each(Trait.VIEWS)
def test_a_view_leaves_the_elements_where_they_are(op_type: str, x: Array) -> None:
    np.testing.assert_array_equal(compute(op_type, x).reshape(-1), x.reshape(-1))


@for_each(Trait.KEEPS_RANGE)
def test_a_result_keeps_within_the_range_of_its_data(op_type: str, x: Array) -> None:
    joined = op_type in operators(Trait.JOINS)
    data = [x, *INPUTS[op_type]] if joined else [x]
    y = compute(op_type, x)
    slack = 1e-6
    assert y.min() >= min(array.min() for array in data) - slack
    assert y.max() <= max(array.max() for array in data) + slack


@for_each(Trait.NON_NEGATIVE)
def test_no_element_is_below_zero(op_type: str, x: Array) -> None:
    y = compute(op_type, np.abs(x) if op_type == "Sqrt" else x)
    assert y.min() >= 0


@for_each(Trait.HOMOGENEOUS)
def test_a_homogeneous_operator_takes_a_factor_of_each_channel_along(
    op_type: str, x: Array
) -> None:
    factors = np.array([0.5, 1, 2, 7], np.float32).reshape(1, 4, 1, 1)
    y, scaled = compute(op_type, x), compute(op_type, x * factors)
    if op_type == "Clip":  # the upper bound grows with the factor, which this constant one cannot
        y, scaled, factors = np.minimum(y, 0), np.minimum(scaled, 0), np.float32(1)
    expected = y.reshape(4, -1) * factors.reshape(-1, 1)
    np.testing.assert_allclose(scaled.reshape(4, -1), expected, rtol=1e-5)


@for_each(Trait.KEEPS_POSITIVE)
def test_a_positive_channel_takes_a_constant_along(op_type: str, x: Array) -> None:
    constants = np.array([0.5, 1, 2, 7], np.float32).reshape(1, 4, 1, 1)
    x = np.abs(x)
    y, shifted = compute(op_type, x), compute(op_type, x + constants)
    expected = y.reshape(4, -1) + constants.reshape(4, 1)
    np.testing.assert_allclose(shifted.reshape(4, -1), expected, rtol=1e-5, atol=1e-5)


@for_each(Trait.COMMUTES)
def test_operands_can_be_swapped(op_type: str, x: Array) -> None:
    (other,) = INPUTS[op_type]
    swapped = {"Add": np.add, "Mul": np.multiply, "Max": np.maximum, "Min": np.minimum}
    np.testing.assert_array_equal(compute(op_type, x), swapped[op_type](other, x))


def test_every_operator_exists() -> None:
    for name in operators(~Trait(0)):
        assert onnx.defs.has(name, max_inclusive_version=OPSET), name


def test_the_table_of_quantization_agrees() -> None:
    """What shares a scale with its input can hold any element of it, and adds none."""
    by_kind = {
        kind: {name for name, operator in OPERATORS.items() if operator.kind is kind}
        for kind in Kind
    }
    assert by_kind[Kind.WEIGHTED] == operators(Trait.WEIGHTED)
    assert by_kind[Kind.CLAMP] <= operators(Trait.FUNCTION) & operators(Trait.HOMOGENEOUS)
    # A Pad may add a constant, a cubic Resize overshoots, TopK has a second result, and a scatter
    # puts in its updates.
    others = {"Pad", "Resize", "TopK", "ScatterElements", "ScatterND"}
    assert by_kind[Kind.SAME] - others <= operators(Trait.KEEPS_RANGE)
    several = {
        name
        for name, operator in OPERATORS.items()
        if operator.kind is Kind.SAME and operator.data_inputs is None
    }
    assert several == operators(Trait.JOINS) & by_kind[Kind.SAME]
