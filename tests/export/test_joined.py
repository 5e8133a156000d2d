"""Which part each element of an output is of."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.export.joined import Parts, joined_outputs

OPSET = 20


def parts(nodes: list[onnx.NodeProto], shape: tuple[int, ...], **constants: object) -> Parts | None:
    """The parts of ``y``, of inputs a [1, 2, 3] and b [1, 1, 3]."""
    graph = helper.make_graph(
        nodes,
        "joined",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, (1, 2, 3)),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, (1, 1, 3)),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model = onnx.shape_inference.infer_shapes(model)
    return joined_outputs(ir.from_proto(model).graph, OPSET)[0]


JOIN = helper.make_node("Concat", ["a", "b"], ["c"], axis=1)


def test_a_concatenation_is_followed_through_what_moves_and_scales() -> None:
    found = parts(
        [
            JOIN,
            helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Mul", ["t", "k"], ["y"]),
        ],
        (1, 3, 3),
        k=np.float32([1, 2, 3]),
    )
    assert found is not None
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.labels, [[[0, 0, 1]] * 3])
    (first, boxes), (second, scores) = found.of(np.arange(18).reshape(2, 1, 3, 3))
    assert (first, second) == ("a", "b")
    np.testing.assert_array_equal(boxes[0], [0, 1, 3, 4, 6, 7])
    np.testing.assert_array_equal(scores[1], [11, 14, 17])


def test_a_concatenation_of_concatenations_has_all_of_their_parts() -> None:
    found = parts(
        [
            JOIN,
            helper.make_node("Reshape", ["c", "flat"], ["d"]),
            helper.make_node("Sigmoid", ["b"], ["s"]),
            helper.make_node("Reshape", ["s", "flat"], ["e"]),
            helper.make_node("Concat", ["d", "e"], ["y"], axis=-1),
        ],
        (1, 12),
        flat=np.int64([1, -1]),
    )
    assert found is not None
    assert found.names == ("a", "b", "e")
    np.testing.assert_array_equal(found.labels, [[0] * 6 + [1] * 3 + [2] * 3])


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([helper.make_node("Sigmoid", ["a"], ["y"])], (1, 2, 3)),
        ([helper.make_node("Concat", ["a", "a"], ["y"], axis=1)], (1, 4, 3)),
        ([JOIN, helper.make_node("Softmax", ["c"], ["y"], axis=1)], (1, 3, 3)),
        ([JOIN, helper.make_node("Mul", ["c", "b"], ["y"])], (1, 3, 3)),
        (
            [JOIN, helper.make_node("Slice", ["c", "from", "to", "axis"], ["y"])],
            (1, 2, 3),
        ),
    ],
    ids=["no Concat", "one part twice", "a sum mixes", "another operand", "one part is left"],
)
def test_other_outputs_have_no_parts(nodes: list[onnx.NodeProto], shape: tuple[int, ...]) -> None:
    ends = {"from": np.int64([0]), "to": np.int64([2]), "axis": np.int64([1])}
    assert parts(nodes, shape, **ends) is None


def test_elements_with_factors_far_from_each_other_are_parts() -> None:
    found = parts(
        [
            helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Add", ["t", "grid"], ["g"]),
            helper.make_node("Mul", ["g", "k"], ["y"]),
        ],
        (1, 3, 2),
        grid=np.float32([0, 50]),
        k=np.float32([-640, 1]),
    )
    assert found is not None
    assert found.names == ("a × 1", "a × 640")
    np.testing.assert_array_equal(found.labels, [[[1, 0]] * 3])


@pytest.mark.parametrize("between", ["Sigmoid", "Mul"])
def test_near_factors_and_those_before_a_function_make_no_parts(between: str) -> None:
    behind = ["Sigmoid", ["m"]] if between == "Sigmoid" else ["Mul", ["m", "half"]]
    factors = [640, 1] if between == "Sigmoid" else [8, 1]
    found = parts(
        [
            helper.make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            helper.make_node("Mul", ["t", "k"], ["m"]),
            helper.make_node(behind[0], behind[1], ["y"]),
        ],
        (1, 3, 2),
        k=np.float32(factors),
        half=np.float32(0.5),
    )
    assert found is None


def test_what_is_written_to_single_places_is_a_part() -> None:
    found = parts(
        [helper.make_node("ScatterND", ["a", "places", "b"], ["y"])],
        (1, 2, 3),
        places=np.int64([[[0, 1]]]),
    )
    assert found is not None
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.labels, [[[0] * 3, [1] * 3]])


PADS = {"pa": np.int64([0, 0, 0, 0, 1, 0]), "pb": np.int64([0, 2, 0, 0, 0, 0])}
PAD = [helper.make_node("Pad", ["a", "pa"], ["c"]), helper.make_node("Pad", ["b", "pb"], ["d"])]
MASK = np.bool_([[[1], [1], [0]]])


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        *((([*PAD, helper.make_node(name, ["c", "d"], ["y"])]), PADS) for name in ("Add", "Sub")),
        ([*PAD, helper.make_node("Max", ["c", "d"], ["y"])], PADS),
        (
            [
                *PAD,
                helper.make_node("Neg", ["d"], ["n"]),
                helper.make_node("Sum", ["n", "c"], ["y"]),
            ],
            PADS,
        ),
        (
            [
                JOIN,
                helper.make_node("Sigmoid", ["c"], ["s"]),
                helper.make_node("Where", ["mask", "c", "s"], ["y"]),
            ],
            {"mask": MASK},
        ),
        (
            [
                JOIN,
                helper.make_node("Sigmoid", ["c"], ["s"]),
                helper.make_node("Mul", ["c", "first"], ["e"]),
                helper.make_node("Mul", ["s", "last"], ["f"]),
                helper.make_node("Add", ["e", "f"], ["y"]),
            ],
            {"first": np.float32(MASK), "last": np.float32(~MASK)},
        ),
        (
            [
                helper.make_node("Transpose", ["a"], ["at"], perm=[0, 2, 1]),
                helper.make_node("Transpose", ["b"], ["bt"], perm=[0, 2, 1]),
                helper.make_node("MatMul", ["at", "first"], ["e"]),
                helper.make_node("MatMul", ["bt", "last"], ["f"]),
                helper.make_node("Add", ["e", "f"], ["g"]),
                helper.make_node("Transpose", ["g"], ["y"], perm=[0, 2, 1]),
            ],
            {"first": np.eye(2, 3, dtype=np.float32), "last": np.float32([[0, 0, 1]])},
        ),
        (
            [
                PAD[0],
                helper.make_node(
                    "ScatterElements", ["c", "at", "b"], ["y"], axis=1, reduction="add"
                ),
            ],
            {**PADS, "at": np.full((1, 1, 3), 2)},
        ),
    ],
    ids=["add", "sub", "max", "sum", "where", "masks", "products", "scatter"],
)
def test_what_is_laid_over_zeros_is_a_part(
    nodes: list[onnx.NodeProto], constants: dict[str, object]
) -> None:
    found = parts(nodes, (1, 3, 3), **constants)
    assert found is not None
    assert len(found.names) == 2
    first, last = found.labels[0, 0, 0], found.labels[0, 2, 0]
    np.testing.assert_array_equal(found.labels[0], [[first] * 3, [first] * 3, [last] * 3])
    assert first != last


def test_a_padded_concatenation_has_its_parts() -> None:
    pad = helper.make_node("Pad", ["c", "pads", "low"], ["y"])
    found = parts([JOIN, pad], (1, 4, 3), pads=np.int64([0, 0, 0, 0, 1, 0]), low=np.float32(-1e9))
    assert found is not None
    assert found.names == ("a", "b")
    assert found.labels[0, :, 0].tolist() == [0, 0, 1, 0]


def test_padded_values_that_overlap_are_no_parts() -> None:
    pads = {**PADS, "pb": np.int64([0, 1, 0, 0, 1, 0])}
    assert parts([*PAD, helper.make_node("Add", ["c", "d"], ["y"])], (1, 3, 3), **pads) is None
    lifted = [*PAD[:1], helper.make_node("Pad", ["b", "pb", "one"], ["d"])]
    nodes = [*lifted, helper.make_node("Add", ["c", "d"], ["y"])]
    assert parts(nodes, (1, 3, 3), **PADS, one=np.float32(1)) is None


def test_a_join_behind_a_chain_of_thousands() -> None:
    """Python's own limit of recursion was one of the depth of networks."""
    count = 2000
    steps = [
        helper.make_node("Tanh" if at % 2 else "Neg", [f"s{at}"], [f"s{at + 1}"])
        for at in range(count)
    ]
    steps[0].input[0] = "a"
    widen = helper.make_node("Pad", [f"s{count}", "pads"], ["left"])
    other = helper.make_node("Pad", ["b", "others"], ["right"])
    ends = [widen, other, helper.make_node("Add", ["left", "right"], ["y"])]
    found = parts([*steps, *ends], (1, 3, 3), pads=[0, 0, 0, 0, 1, 0], others=[0, 2, 0, 0, 0, 0])
    assert found is not None
    np.testing.assert_array_equal(found.labels[0, :, 0], [0, 0, 1])
