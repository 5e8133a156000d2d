from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import OpResolverType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeconv.errors import DataError, UsageError
from edgeconv.export.inspect import inspect_file
from edgeconv.export.inspect.report import FileReport, QuantizationKind
from support.runtimes import tflite_interpreter
from support.tflite_files import File, Op, Tensor, pack

RANDOM = np.random.default_rng(0)


def padding_same(kind: type) -> object:
    options = kind()
    options.padding, options.strideH, options.strideW = schema.Padding.SAME, 2, 2
    if isinstance(options, schema.DepthwiseConv2DOptionsT):
        options.strideH = options.strideW = 1
        options.depthMultiplier = 1
    return options


def float_network() -> File:
    """Convolution, depthwise convolution, reshape, fully connected; float32."""

    def weights(*shape: int) -> np.ndarray:
        return RANDOM.normal(size=shape).astype(np.float32)

    tensors = [
        Tensor("image", (1, 8, 8, 3)),
        Tensor("w0", (4, 3, 3, 3), data=weights(4, 3, 3, 3)),
        Tensor("b0", (4,), data=weights(4)),
        Tensor("a", (1, 4, 4, 4)),
        Tensor("w1", (1, 3, 3, 4), data=weights(1, 3, 3, 4)),
        Tensor("b1", (4,), data=weights(4)),
        Tensor("b", (1, 4, 4, 4)),
        Tensor("shape", (2,), "int32", data=np.array([1, 64], np.int32)),
        Tensor("flat", (1, 64)),
        Tensor("w2", (5, 64), data=weights(5, 64)),
        Tensor("scores", (1, 5)),
    ]
    ops = [
        Op("CONV_2D", (0, 1, 2), (3,), 1, padding_same(schema.Conv2DOptionsT)),
        Op("DEPTHWISE_CONV_2D", (3, 4, 5), (6,), 1, padding_same(schema.DepthwiseConv2DOptionsT)),
        Op("RESHAPE", (6, 7), (8,), 1, schema.ReshapeOptionsT()),
        Op("FULLY_CONNECTED", (8, 9, -1), (10,), 1, schema.FullyConnectedOptionsT()),
    ]
    return File(tensors, ops, [0], [10])


def int8_network(*, float_middle: bool = False) -> File:
    """A 1x1 convolution between QUANTIZE and DEQUANTIZE, perhaps a float operator inside."""
    codes = RANDOM.integers(-127, 127, (4, 1, 1, 3)).astype(np.int8)
    bias = np.zeros(4, np.int32)
    scales = (0.01, 0.02, 0.03, 0.04)
    tensors = [
        Tensor("in", (1, 2, 2, 3)),
        Tensor("q", (1, 2, 2, 3), "int8", scales=(0.5,), zero_points=(-3,)),
        Tensor("w", (4, 1, 1, 3), "int8", codes, scales),
        Tensor("b", (4,), "int32", bias, [scale * 0.5 for scale in scales]),
        Tensor("y", (1, 2, 2, 4), "int8", scales=(0.25,), zero_points=(4,)),
        Tensor("out", (1, 2, 2, 4)),
    ]
    options = schema.Conv2DOptionsT()
    options.strideH = options.strideW = 1
    ops = [
        Op("QUANTIZE", (0,), (1,), 1, schema.QuantizeOptionsT()),
        Op("CONV_2D", (1, 2, 3), (4,), 3, options),
        Op("DEQUANTIZE", (4,), (5,), 2, schema.DequantizeOptionsT()),
    ]
    if float_middle:
        tensors.append(Tensor("e", (1, 2, 2, 4)))
        ops.append(Op("ELU", (5,), (6,)))
        return File(tensors, ops, [0], [6])
    return File(tensors, ops, [0], [5])


def inspect(tmp_path: Path, data: bytes) -> FileReport:
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    return inspect_file(path)


def test_a_float_file(tmp_path: Path) -> None:
    data = float_network().pack()
    report = inspect(tmp_path, data)
    assert report.bytes == len(data)
    assert report.parameters == 4 * 27 + 4 + 36 + 4 + 320
    assert report.parameter_dtypes == {"float32": report.parameters}
    assert report.weight_bytes == 4 * report.parameters + 8  # and the shape of the reshape
    assert report.macs == 16 * 4 * 27 + 16 * 4 * 9 + 320
    # image (768) stays; a and b (256 each) live together; the reshape is a view.
    assert report.peak_activation_bytes == 768 + 256 + 256
    assert report.quantization.kind is QuantizationKind.FLOAT
    assert report.lowest_runtime == "tflite-runtime 2.5.0"
    assert report.inputs[0].name == "image"
    assert report.inputs[0].shape == (1, 8, 8, 3)
    assert report.outputs[0].scale is None
    assert report.notes == ()


def test_operators_agree_with_litert(tmp_path: Path) -> None:
    for network in (float_network(), int8_network(), int8_network(float_middle=True)):
        data = network.pack()
        interpreter = tflite_interpreter(
            data, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        )
        truth = sorted(op["op_name"] for op in interpreter._get_ops_details())
        report = inspect(tmp_path, data)
        assert sorted(op.name for op in report.operators for _ in range(op.count)) == truth
        details = interpreter.get_input_details()[0]
        assert report.inputs[0].shape == tuple(details["shape"])
        assert report.inputs[0].dtype == np.dtype(details["dtype"]).name


def test_a_full_integer_file(tmp_path: Path) -> None:
    report = inspect(tmp_path, int8_network().pack())
    quantization = report.quantization
    assert quantization.kind is QuantizationKind.INTEGER
    assert quantization.activations == ("int8",)
    assert (quantization.per_channel_weights, quantization.per_tensor_weights) == (1, 0)
    assert (quantization.quantize, quantization.dequantize) == (1, 1)
    assert quantization.float_operators == {}
    assert report.parameter_dtypes == {"int32": 4, "int8": 12}
    # in (float, 48) stays, y (int8, 16) and out (float, 64) at the end.
    assert report.peak_activation_bytes == 48 + 16 + 64


def test_what_stays_in_float_is_named(tmp_path: Path) -> None:
    quantization = inspect(tmp_path, int8_network(float_middle=True).pack()).quantization
    assert quantization.kind is QuantizationKind.MIXED
    assert quantization.float_operators == {"ELU": 1}


def test_integer_inputs_carry_their_scale(tmp_path: Path) -> None:
    network = int8_network()
    network.ops = network.ops[1:2]
    network.inputs, network.outputs = [1], [4]
    report = inspect(tmp_path, network.pack())
    assert (report.inputs[0].scale, report.inputs[0].zero_point) == (0.5, -3)
    assert (report.outputs[0].scale, report.outputs[0].zero_point) == (0.25, 4)


def test_quantized_weights_alone_are_no_int8(tmp_path: Path) -> None:
    network = float_network()
    network.tensors[9] = Tensor("w2", (5, 64), "int8", np.ones((5, 64), np.int8), (0.1,))
    quantization = inspect(tmp_path, network.pack()).quantization
    # A float input and integer weights: the kernel quantizes the input while it runs.
    assert quantization.kind is QuantizationKind.DYNAMIC
    assert (quantization.per_channel_weights, quantization.per_tensor_weights) == (0, 1)


def test_tensors_of_one_buffer_count_once(tmp_path: Path) -> None:
    model = float_network().model()
    model.subgraphs[0].tensors[5].buffer = model.subgraphs[0].tensors[2].buffer
    report = inspect(tmp_path, pack(model))
    assert report.parameters == 4 * 27 + 4 + 36 + 320


def test_dynamic_batch(tmp_path: Path) -> None:
    model = float_network().model()
    model.subgraphs[0].tensors[0].shapeSignature = [-1, 8, 8, 3]
    report = inspect(tmp_path, pack(model))
    assert report.inputs[0].shape == ("?", 8, 8, 3)
    assert report.macs == 16 * 4 * 27 + 16 * 4 * 9 + 320
    assert "dynamic dimension" in report.notes[0]


def test_custom_operators_are_named(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 4)), Tensor("y", (1, 4))]
    report = inspect(tmp_path, File(tensors, [Op("", (0,), (1,), custom="MyOp")], [0], [1]).pack())
    assert (report.operators[0].domain, report.operators[0].name) == ("custom", "MyOp")
    assert report.notes == ("the runtime needs the custom operator MyOp",)


def test_operators_newer_than_the_schema(tmp_path: Path) -> None:
    model = float_network().model()
    model.operatorCodes[2].builtinCode = 999
    report = inspect(tmp_path, pack(model))
    assert "OPERATOR_999" in {operator.name for operator in report.operators}
    assert report.lowest_runtime.startswith("newer than")


def test_wrong_files_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        inspect_file(tmp_path / "none.tflite")
    for data in (b"", b"TFL3", b"\0" * 64, b"\x10\0\0\0TFL3"):
        with pytest.raises(DataError) as caught:
            inspect(tmp_path, data)
        assert (caught.value.message + caught.value.hint).isprintable()


@pytest.mark.parametrize("shape", [(2**31 - 1,) * 4, (-7, 3, 3, 3), (1000, 3, 3, 3)])
def test_impossible_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    network = float_network()
    network.tensors[1].shape = shape
    with pytest.raises(DataError, match="tensor 'w0'"):
        inspect(tmp_path, network.pack())


def test_huge_activations_are_only_counted(tmp_path: Path) -> None:
    network = float_network()
    network.tensors[3].shape = (2**31 - 1,) * 4
    assert (inspect(tmp_path, network.pack()).peak_activation_bytes or 0) > 2**120


@pytest.mark.parametrize("bad", [99, -2])
def test_references_outside_the_file_are_refused(tmp_path: Path, bad: int) -> None:
    for change in ("inputs", "outputs", "graph"):
        network = float_network()
        if change == "graph":
            network.inputs = [bad]
        else:
            setattr(network.ops[0], change, (bad,))
        with pytest.raises(DataError, match="refers to tensor"):
            inspect(tmp_path, network.pack())
    model = float_network().model()
    model.subgraphs[0].tensors[1].buffer = 99
    with pytest.raises(DataError, match="buffer 99"):
        inspect(tmp_path, pack(model))


def test_vectors_shared_without_end_are_refused(tmp_path: Path) -> None:
    """A small file that is 25 million inputs long: 5000 times one operator of 5000 inputs."""
    model = float_network().model()
    graph, repeats = model.subgraphs[0], 5000
    graph.operators[0].inputs = [0] * repeats
    graph.operators[0].outputs = [0]
    builder = flatbuffers.Builder(1024)
    operator = graph.operators[0].Pack(builder)
    schema.SubGraphStartOperatorsVector(builder, repeats)
    for _ in range(repeats):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    tensors = one_vector(builder, schema.SubGraphStartTensorsVector, graph.tensors[0])
    codes = one_vector(builder, schema.ModelStartOperatorCodesVector, model.operatorCodes[0])
    buffers = one_vector(builder, schema.ModelStartBuffersVector, model.buffers[0])
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddOperators(builder, operators)
    subgraph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(subgraph)
    subgraphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddSubgraphs(builder, subgraphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    data = bytes(builder.Output())
    assert len(data) < 50_000
    with pytest.raises(DataError, match="more than the file can hold"):
        inspect(tmp_path, data)


def one_vector(builder: flatbuffers.Builder, start: Callable[..., None], item: Any) -> int:
    offset = item.Pack(builder)
    start(builder, 1)
    builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def test_an_operator_without_inputs_is_read(tmp_path: Path) -> None:
    file = int8_network()
    last = file.ops[-1]
    assert last.name == "DEQUANTIZE"
    file.ops[-1] = replace(last, inputs=())
    inspect(tmp_path, bytes(file.pack()))


def test_a_file_that_was_cut_is_said_to_be(tmp_path: Path) -> None:
    content = float_network().pack()
    for share in (0.3, 0.6, 0.99):
        with pytest.raises(DataError, match="is damaged: it is cut short, or"):
            inspect(tmp_path, bytes(content[: int(len(content) * share)]))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([float_network(), int8_network()])).pack())
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    try:
        inspect(tmp_path, bytes(content))
    except DataError as error:
        message = error.message + error.hint
    else:
        message = ""
    assert "\n" not in message
