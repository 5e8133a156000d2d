"""Damage in the structure of an ONNX file is an error of ours, never another exception."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeconv.errors import CaptureError, EdgeconvError
from edgeconv.export import export

HUGE = (0, 1, -1, 2, 7, 2**31, 2**62)
OTHER_OPERATORS = [
    *("Relu", "Conv", "Add", "Reshape", "MatMul", "TopK", "NonZero", "Loop", "If", "Gather", "Pad"),
    *("Expand", "Tile", "Split", "Squeeze", "Unsqueeze", "Cast", "ConstantOfShape", "Range"),
    *("Where", "LSTM", "QuantizeLinear", "Einsum", "ScatterND", "MaxPool", "ConvTranspose"),
    *("SequenceAt", "OneHot", "CumSum", "DepthToSpace", "Nonsense"),
]


def constant(name: str, values: object, dtype: str = "float32") -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def convolutional() -> onnx.GraphProto:
    draw = np.random.default_rng(0).normal
    return helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Clip", ["c", "low", "high"], ["r"]),
            helper.make_node("Slice", ["r", "begin", "end", "axes"], ["s"]),
            helper.make_node("Resize", ["s", "", "scales"], ["u"], mode="nearest"),
            helper.make_node("Concat", ["u", "r"], ["d"], axis=1),
            helper.make_node("Reshape", ["d", "shape"], ["f"]),
            helper.make_node("MatMul", ["f", "k"], ["m"]),
            helper.make_node("Softmax", ["m"], ["y"], axis=-1),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [
            constant("w", draw(size=(4, 3, 3, 3))),
            constant("b", draw(size=4)),
            constant("low", 0.0),
            constant("high", 6.0),
            constant("begin", [0, 0], "int64"),
            constant("end", [4, 4], "int64"),
            constant("axes", [2, 3], "int64"),
            constant("scales", [1, 1, 2, 2]),
            constant("shape", [1, -1], "int64"),
            constant("k", draw(size=(8 * 64, 5))),
        ],
    )


Damage = Callable[[onnx.GraphProto], None]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One wrong thing in a constant, a node or a border of the graph."""
    which, place = draw(st.integers(0, 9)), draw(st.integers(0, 99))
    number, other = draw(st.sampled_from(HUGE)), draw(st.sampled_from(OTHER_OPERATORS))
    kind, raw = draw(st.integers(0, 23)), draw(st.binary(max_size=64))

    def damage(graph: onnx.GraphProto) -> None:
        tensor = graph.initializer[place % len(graph.initializer)]
        node = graph.node[place % len(graph.node)]
        border = [*graph.input, *graph.output][place % 2].type.tensor_type
        if which == 0:
            tensor.data_type = kind
        elif which == 1:
            tensor.dims.append(number)
        elif which == 2:
            del tensor.dims[:]
        elif which == 3:
            tensor.raw_data = raw
        elif which == 4:
            node.op_type = other
        elif which == 5:
            node.input[place % len(node.input)] = ["", "x", "y", "missing"][number % 4]
        elif which == 6:
            border.elem_type = kind
        elif which == 7:
            border.shape.dim[place % len(border.shape.dim)].dim_value = number
        elif which == 8:
            name = ["axis", "pads", "group", "mode", "to"][place % 5]
            value: object = [number, [number], "linear"][kind % 3]
            node.attribute.append(helper.make_attribute(name, value))
        else:
            for attribute in node.attribute:
                attribute.type = kind

    return damage


@pytest.mark.slow
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(damages(), min_size=1, max_size=2), st.sampled_from([11, 13, 17, 21]))
def test_a_damaged_graph_is_refused_and_leaves_nothing(
    tmp_path: Path, found: list[Damage], opset: int
) -> None:
    model = helper.make_model(convolutional(), opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    try:
        for damage in found:
            damage(model.graph)
    except ValueError:  # protobuf itself refuses some numbers
        return
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with suppress(EdgeconvError):
        export(path, out=tmp_path / "out", precisions=["float32"], force=True)
    left = {each.name for each in tmp_path.iterdir()} - {"net.onnx"}
    assert left <= {"out"}
    assert not left or (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("damaged", "values"),
    [
        pytest.param("w", b"", id="no data"),
        pytest.param("w", b"123", id="part of a number"),
        pytest.param("begin", b"\0" * 8, id="one number of two"),
    ],
)
def test_data_that_do_not_fill_their_shape_are_named(
    damaged: str, values: bytes, tmp_path: Path
) -> None:
    """The optimizer once failed on them with an exception of its own."""
    model = helper.make_model(convolutional(), opset_imports=[helper.make_opsetid("", 17)])
    for tensor in model.graph.initializer:
        if tensor.name == damaged:
            tensor.raw_data = values
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(EdgeconvError, match=f"data of the constant '{damaged}' are not what"):
        export(path, out=tmp_path / "out")


@pytest.mark.parametrize("place", ["doc_string", "key", "value", "name"])
def test_texts_that_are_not_utf8(place: str, tmp_path: Path) -> None:
    """Protobuf decodes a text when it is first read, be that in the middle of the work."""
    # An operator that is written in another way, for which the whole file is read.
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="r"),
        helper.make_node("FastGelu", ["r"], ["y"], name="n", domain="com.microsoft"),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    if place == "doc_string":
        nodes[0].doc_string = "QQQQ"
    elif place == "name":
        nodes[0].name = "QQQQ"
    else:
        nodes[0].metadata_props.add(key="a", value="b")
        texts = ("QQQQ", "c") if place == "key" else ("c", "QQQQ")
        nodes[0].metadata_props.add(key=texts[0], value=texts[1])
    proto = helper.make_model(
        helper.make_graph(nodes, "g", [value], [output]),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)],
    )
    file = tmp_path / "n.onnx"
    file.write_bytes(proto.SerializeToString().replace(b"QQQQ", b"Q\xff\xfeQ"))
    with pytest.raises(CaptureError, match=r"n\.onnx is not a valid ONNX file: .* not UTF-8"):
        export(str(file), out=tmp_path / "out", formats=["onnx"])
