"""The flatbuffer: alignment, signatures, names, versions."""

from __future__ import annotations

import sys
from itertools import pairwise
from types import FrameType

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.graph import Graph, Operator, Padding, Quantization, Tensor
from edgeconv.export.tflite.versions import version
from edgeconv.export.tflite.writer import write
from support.lowering import Net, as_model, check, smooth
from support.runtimes import tflite_interpreter

FLOAT, INT8 = np.dtype("float32"), np.dtype("int8")


def small_net() -> Net:
    net = Net()
    x, y = net.input("left", (1, 3, 5, 4)), net.input("right", (2, 7))
    first = net.op("Conv", x, net.constant(smooth((4, 3, 3, 3))))
    net.output(net.op("Relu", first), net.op("Gemm", y, net.constant(smooth((7, 5)))))
    return net


def test_several_inputs_and_outputs_keep_their_names_and_order() -> None:
    lowered = check(small_net(), {"left": smooth((1, 3, 5, 4)), "right": smooth((2, 7))})
    assert [(info.name, info.shape) for info in lowered.inputs] == [
        ("left", (1, 5, 4, 3)),
        ("right", (2, 7)),
    ]
    assert [info.layout for info in lowered.inputs] == [Layout.NHWC, None]
    assert [info.shape for info in lowered.outputs] == [(1, 3, 2, 4), (2, 5)]
    signatures = tflite_interpreter(lowered.data).get_signature_list()
    assert signatures["serving_default"]["inputs"] == ["left", "right"]


def test_products_state_that_they_keep_their_dimensions() -> None:
    """XNNPACK works it out in every inference otherwise: 108 instructions each on a Cortex-A72."""
    net = Net()
    y = net.op("Gemm", net.input("x", (2, 7)), net.constant(smooth((7, 5))))
    data = check(net.output(y), {"x": smooth((2, 7))}).data
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    assert [one.builtinOptions.keepNumDims for one in model.subgraphs[0].operators] == [True]


def test_constants_are_aligned() -> None:
    data = lower(as_model(small_net().proto())).data
    model = schema.Model.GetRootAsModel(data, 0)
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            assert start % 16 == 0


def test_the_file_says_what_it_is() -> None:
    data = lower(as_model(small_net().proto())).data
    assert schema.Model.ModelBufferHasIdentifier(data, 0)
    assert schema.Model.GetRootAsModel(data, 0).Version() == 3


def test_the_same_model_gives_the_same_bytes() -> None:
    model = as_model(small_net().proto())
    assert lower(model).data == lower(model).data


def test_a_profiler_may_hold_on_to_frames() -> None:
    """Dask samples the frames of threads that export; what these view cannot be shortened."""
    frames: list[FrameType] = []
    sys.setprofile(lambda frame, event, arg: frames.append(frame))
    try:
        held = lower(as_model(small_net().proto())).data
    finally:
        sys.setprofile(None)
    assert held == lower(as_model(small_net().proto())).data


def test_names_are_unique_and_those_of_inputs_and_outputs_stay() -> None:
    """ai-edge-quantizer, among others, looks tensors up by name, and refuses a name met twice."""
    x, y = (Tensor(name, (2,), FLOAT) for name in ("x", "same"))
    inner = [Tensor("same", (2,), FLOAT) for _ in range(2)]
    once = Tensor("same_2", (2,), FLOAT)
    steps = [x, *inner, once, y]
    operators = [Operator("ABS", [a], [b]) for a, b in pairwise(steps)]
    data = write(Graph(inputs=[x], outputs=[y], operators=operators))
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph = model.subgraphs[0]
    names = [each.name.decode() for each in subgraph.tensors]
    assert len(set(names)) == len(names) == 5
    assert names[subgraph.inputs[0]] == "x"
    assert names[subgraph.outputs[0]] == "same"


def test_an_option_that_does_not_exist_is_an_error() -> None:
    x, y = Tensor("x", (1, 2), FLOAT), Tensor("y", (1, 2), FLOAT)
    graph = Graph([x], [y], [Operator("ADD", [x, x], [y], {"stride": 1})])
    with pytest.raises(AttributeError, match="AddOptions of ADD has no field stride"):
        write(graph)


def tensor(shape: tuple[int, ...], dtype: np.dtype = FLOAT, scale: float | None = None) -> Tensor:
    return Tensor("", shape, dtype, None, Quantization(scale, 0) if scale else None)


MAP = (1, 4, 4, 3)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (Operator("CONV_2D", [tensor(MAP), tensor((2, 3, 3, 3))], [tensor(MAP)]), 1),
        (Operator("CONV_2D", [tensor(MAP), tensor((3, 3, 3, 1))], [tensor(MAP)]), 6),
        (Operator("CONV_2D", [tensor(MAP, INT8), tensor((2, 3, 3, 3), INT8)], [tensor(MAP)]), 3),
        (
            Operator(
                "DEPTHWISE_CONV_2D",
                [tensor(MAP), tensor((1, 3, 3, 3))],
                [tensor(MAP)],
                {"dilationHFactor": 2, "padding": Padding.SAME},
            ),
            2,
        ),
        (Operator("FULLY_CONNECTED", [tensor((1, 3), INT8)] * 3, [tensor((1, 3), INT8)]), 4),
        (Operator("FULLY_CONNECTED", [tensor((1, 3))] * 3, [tensor((1, 3))]), 1),
        (Operator("MUL", [tensor(MAP, INT8, 2.0)] * 2, [tensor(MAP, INT8, 1.0)]), 3),
        (Operator("MUL", [tensor(MAP, INT8, 0.5)] * 2, [tensor(MAP, INT8, 1.0)]), 2),
        (Operator("TRANSPOSE", [tensor((1, 2, 3, 4, 5))], [tensor((1, 2, 3, 4, 5))]), 4),
        (Operator("RESIZE_BILINEAR", [tensor(MAP)], [tensor(MAP)], {"halfPixelCenters": True}), 3),
        (Operator("QUANTIZE", [tensor(MAP)], [tensor(MAP, INT8)]), 1),
        (Operator("DEQUANTIZE", [tensor(MAP, INT8)], [tensor(MAP)]), 2),
        (Operator("HARD_SWISH", [tensor(MAP, INT8)], [tensor(MAP, INT8)]), 1),
    ],
)
def test_versions_are_the_lowest(operator: Operator, expected: int) -> None:
    assert version(operator) == expected
