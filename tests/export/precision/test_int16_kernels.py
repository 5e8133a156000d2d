"""Every operator of the int16 table is run in int16, on both runtimes, against its float form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from edgeconv.export.tflite.graph import (
    ChannelQuantization,
    Graph,
    Operator,
    Options,
    Padding,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.versions import INT16_VERSIONS
from edgeconv.export.tflite.writer import write
from support.runtimes import tflite_interpreter

pytestmark = pytest.mark.slow

INT16 = np.dtype("int16")
SCALE = Quantization(1 / 8192, 0)  # reaches from -4 to 4
UNIT = Quantization(1 / 32768, 0)
RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (1, 4, 4, 4)).astype(np.float32)
Y = RNG.uniform(-2, 2, (1, 4, 4, 4)).astype(np.float32)
VALID: Options = {"padding": Padding.VALID, "strideH": 1, "strideW": 1}
POOL: Options = {**VALID, "filterHeight": 2, "filterWidth": 2}


@dataclass(eq=False)
class Case:
    """One operator: its activations, its other inputs, and the shape of its result.

    ``order`` says where the inputs go, activations first.
    """

    shape: tuple[int, ...] = X.shape
    activations: tuple[np.ndarray, ...] = (X,)
    others: tuple[Tensor, ...] = ()
    options: Options = field(default_factory=dict)
    result: Quantization = SCALE
    order: tuple[int, ...] | None = None
    outputs: int = 1


def ints(*values: int) -> Tensor:
    array = np.array(values, np.int32)
    return Tensor("ints", array.shape, array.dtype, array)


def scalar(value: int) -> Tensor:
    array = np.array(value, np.int32)
    return Tensor("scalar", (), array.dtype, array)


def weighted(*shape: int, axis: int) -> tuple[Tensor, Tensor]:
    """int8 weights with a scale a channel, and the int64 bias that goes with them."""
    codes = RNG.integers(-127, 128, shape).astype(np.int8)
    channels = shape[axis]
    scales = np.linspace(0.0005, 0.001, channels, dtype=np.float32)
    products = scales * np.float32(SCALE.scale)
    bias = np.rint(np.linspace(-0.2, 0.2, channels) / products).astype(np.int64)
    return (
        Tensor("w", shape, codes.dtype, codes, ChannelQuantization(scales, axis)),
        Tensor("b", bias.shape, bias.dtype, bias, ChannelQuantization(products, 0)),
    )


def dense() -> tuple[Tensor, Tensor]:
    """Weights with one scale for all, as FULLY_CONNECTED has them in old releases."""
    codes = RNG.integers(-127, 128, (3, 16)).astype(np.int8)
    bias = np.array([1000, 0, -1000], np.int64)
    return (
        Tensor("w", codes.shape, codes.dtype, codes, Quantization(0.001, 0)),
        Tensor("b", bias.shape, bias.dtype, bias, Quantization(0.001 * SCALE.scale, 0)),
    )


PADS = Tensor(
    "pads", (4, 2), np.dtype("int32"), np.array([[0, 0], [1, 1], [1, 2], [0, 0]], np.int32)
)
LOWEST = Tensor("lowest", (1,), INT16, np.array([-32767], INT16), SCALE)

CASES: dict[str, Case] = {
    "ADD": Case(activations=(X, Y), options={"potScaleInt16": False}),
    "AVERAGE_POOL_2D": Case((1, 3, 3, 4), options=POOL),
    "CONCATENATION": Case((1, 4, 4, 8), (X, Y), options={"axis": 3}),
    "CONV_2D": Case((1, 3, 3, 5), others=weighted(5, 2, 2, 4, axis=0), options=VALID),
    "DEPTHWISE_CONV_2D": Case(
        (1, 3, 3, 4),
        others=weighted(1, 2, 2, 4, axis=3),
        options={**VALID, "depthMultiplier": 1},
    ),
    "EXPAND_DIMS": Case((1, 1, 4, 4, 4), others=(scalar(1),)),
    "FULLY_CONNECTED": Case((4, 3), (X.reshape(4, 16),), others=dense()),
    "GATHER": Case((1, 4, 2, 4), others=(ints(2, 0),), options={"axis": 2}),
    "LEAKY_RELU": Case(options={"alpha": 0.1}),
    "LOGISTIC": Case(result=UNIT),
    "MAXIMUM": Case(activations=(X, Y)),
    "MAX_POOL_2D": Case((1, 3, 3, 4), options=POOL),
    "MEAN": Case((1, 1, 1, 4), others=(ints(1, 2),), options={"keepDims": True}),
    "MINIMUM": Case(activations=(X, Y)),
    "MUL": Case(activations=(X, Y)),
    "PAD": Case((1, 6, 7, 4), others=(PADS,)),
    "PADV2": Case((1, 6, 7, 4), others=(PADS, LOWEST)),
    "QUANTIZE": Case(result=Quantization(1 / 4096, 0)),
    "RELU": Case(),
    "RELU6": Case(),
    "RESHAPE": Case((1, 16, 4), others=(ints(1, 16, 4),), options={"newShape": (1, 16, 4)}),
    "RESIZE_BILINEAR": Case((1, 8, 8, 4), others=(ints(8, 8),)),
    "RESIZE_NEAREST_NEIGHBOR": Case((1, 8, 8, 4), others=(ints(8, 8),)),
    "SLICE": Case((1, 2, 3, 4), others=(ints(0, 1, 1, 0), ints(1, 2, 3, 4))),
    "SOFTMAX": Case(options={"beta": 1.0}, result=UNIT),
    "SPLIT": Case(
        (1, 4, 4, 2), others=(scalar(3),), options={"numSplits": 2}, order=(1, 0), outputs=2
    ),
    "SQUEEZE": Case((4, 4, 4)),
    "STRIDED_SLICE": Case(
        (1, 2, 2, 4), others=(ints(0, 0, 0, 0), ints(1, 4, 4, 4), ints(1, 2, 2, 1))
    ),
    "SUB": Case(activations=(X, Y), options={"potScaleInt16": False}),
    "TANH": Case(result=UNIT),
    "TRANSPOSE": Case((1, 4, 4, 4), others=(ints(0, 3, 1, 2),)),
    "TRANSPOSE_CONV": Case(
        (1, 5, 5, 3),
        others=(ints(1, 5, 5, 3), *weighted(3, 2, 2, 4, axis=0)),
        options=VALID,
        order=(1, 2, 0, 3),
    ),
}


def file_of(name: str, case: Case, *, integer: bool) -> bytes:
    """Float inputs and outputs around one operator, in int16 or in float."""
    inputs = [
        Tensor(f"x{i}", array.shape, np.dtype("float32"))
        for i, array in enumerate(case.activations)
    ]
    results = [Tensor(f"y{i}", case.shape, np.dtype("float32")) for i in range(case.outputs)]
    operands, outputs, graph = inputs, results, Graph(list(inputs), list(results))
    if integer:
        operands = [Tensor(f"q{i}", x.shape, INT16, None, SCALE) for i, x in enumerate(inputs)]
        outputs = [
            Tensor(f"r{i}", case.shape, INT16, None, case.result) for i in range(len(results))
        ]
        pairs = zip(inputs, operands, strict=True)
        graph.operators += [Operator("QUANTIZE", [x], [q]) for x, q in pairs]
    others = [copied(tensor, integer=integer) for tensor in case.others]
    everything = [*operands, *others]
    ordered = [everything[i] for i in case.order or range(len(everything))]
    options = {k: v for k, v in case.options.items() if integer or k != "potScaleInt16"}
    if name == "QUANTIZE" and not integer:
        name, ordered, options = "RESHAPE", [*inputs, ints(*case.shape)], {"newShape": case.shape}
    graph.operators.append(Operator(name, ordered, outputs, options))
    if integer:
        pairs = zip(outputs, results, strict=True)
        graph.operators += [Operator("DEQUANTIZE", [q], [y]) for q, y in pairs]
    return bytes(write(graph))


def copied(tensor: Tensor, *, integer: bool) -> Tensor:
    """A constant operand, dequantized for the float form. Writing takes a tensor's data away."""
    assert tensor.data is not None
    if integer or tensor.quantization is None:
        return Tensor(tensor.name, tensor.shape, tensor.dtype, tensor.data, tensor.quantization)
    if isinstance(tensor.quantization, ChannelQuantization):
        shape = [1] * len(tensor.shape)
        shape[tensor.quantization.axis] = -1
        scale: np.ndarray | float = tensor.quantization.scales.reshape(shape)
    else:
        scale = tensor.quantization.scale
    real = (tensor.data * scale).astype(np.float32)
    return Tensor(tensor.name, tensor.shape, real.dtype, real)


def run(data: bytes, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    loaded = tflite_interpreter(data)
    for detail, array in zip(loaded.get_input_details(), arrays, strict=True):
        loaded.set_tensor(detail["index"], array)
    loaded.invoke()
    return [loaded.get_tensor(detail["index"]) for detail in loaded.get_output_details()]


def test_every_operator_of_the_table_has_a_case() -> None:
    assert set(CASES) | {"DEQUANTIZE"} == set(INT16_VERSIONS)


@pytest.mark.parametrize("name", list(CASES))
def test_int16_is_close_to_float(name: str, tflite214: object) -> None:
    case = CASES[name]
    integer = file_of(name, case, integer=True)
    wanted = run(file_of(name, case, integer=False), case.activations)
    # Inputs are rounded to 2**-13 and results to 2**-13 or 2**-15; sums and products of a few
    # such errors, and tables of 512 values (LOGISTIC, TANH, SOFTMAX), stay within 8 steps.
    for got, real in zip(run(integer, case.activations), wanted, strict=True):
        np.testing.assert_allclose(got, real, rtol=0, atol=8 * SCALE.scale)
    feeds = {f"x{i}": array for i, array in enumerate(case.activations)}
    old = tflite214(integer, feeds)  # type: ignore[operator]
    for index, real in enumerate(wanted):
        np.testing.assert_allclose(old[f"y{index}"], real, rtol=0, atol=8 * SCALE.scale)
