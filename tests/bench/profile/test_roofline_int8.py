"""Why int8 is not faster: hand-made profiles, and what is said of them."""

from __future__ import annotations

import pytest

from edgeconv.bench.profile.roofline import WEIGHTS
from edgeconv.bench.profile.roofline_int8 import Reason, int8_against_float
from edgeconv.device.messages import Operator
from edgeconv.report.operators import (
    narrow_notes,
    narrow_operators_table,
    notes,
    operators_table,
)
from edgeconv.report.tables import console
from support.profiles import PI3, PI4, PI5, conv, depthwise, made_profile, node, profiled, tensor

SOFTMAX = (1, 1000)
MAP = (1, 112, 112, 64)
# Float activations, int8 weights: what "int8-dynamic" is made of.
DYNAMIC = conv("float32", 9).model_copy(
    update={"inputs": (tensor("float32", 1, 28, 28, 64), tensor("int8", 64, 1, 1, 64))}
)


def words(result_notes: list[str], operator: str) -> str:
    (line,) = (line for line in result_notes if operator in line and "no faster" in line)
    return line


@pytest.mark.parametrize("board", [None, PI4])
def test_an_operator_that_no_delegate_takes(board: str | None) -> None:
    floats = [conv("float32", 900_000), node("SOFTMAX", 10_000, "float32", *SOFTMAX)]
    codes = [conv("int8", 400_000), node("SOFTMAX", 30_000, "int8", *SOFTMAX)]
    result = made_profile(
        profiled("f.tflite", floats, board=board),
        profiled("q.tflite", codes, board=board, delegated={"softmax": False}),
    )
    (found,) = result.int8_against_float
    assert (found.int8_file, found.float_file) == ("q.tflite", "f.tflite")
    (slow,) = found.not_faster
    assert (slow.operator, slow.reason) == ("SOFTMAX", Reason.NOT_DELEGATED)
    said = notes(result)
    assert "XNNPACK does not take it in int8" in words(said, "SOFTMAX")
    assert "30.0 µs, in float 10.0 µs" in words(said, "SOFTMAX")
    assert any("q.tflite: 2.12× as fast in kernels as f.tflite" in line for line in said)


def test_an_operator_left_in_float_between_conversions() -> None:
    """Its conversions are counted with it, and are no operators of their own."""
    floats = [conv("float32", 900_000), node("ERF", 50_000, "float32", *SOFTMAX)]
    codes = [
        conv("int8", 400_000),
        node("DEQUANTIZE", 5_000, "int8", *SOFTMAX, into="float32"),
        node("ERF", 50_000, "float32", *SOFTMAX),
        node("QUANTIZE", 7_000, "float32", *SOFTMAX, into="int8"),
    ]
    result = made_profile(profiled("f.tflite", floats), profiled("q.tflite", codes))
    (found,) = result.int8_against_float
    assert found.conversions_ns == 12_000
    (slow,) = found.not_faster
    assert (slow.ns, slow.float_ns, slow.reason) == (62_000, 50_000, Reason.FLOAT)
    assert "runs in float here too" in words(notes(result), "ERF")


@pytest.mark.parametrize(
    ("board", "reason"),
    [
        (PI3, Reason.NO_DOT_PRODUCT),
        (PI4, Reason.NO_DOT_PRODUCT),
        (PI5, Reason.UNKNOWN),
        (None, Reason.UNKNOWN),
    ],
)
def test_a_core_without_dot_products(board: str | None, reason: Reason) -> None:
    result = made_profile(
        profiled("f.tflite", [conv("float32", 900_000)], board=board),
        profiled("q.tflite", [conv("int8", 950_000)], board=board),
    )
    (slow,) = result.int8_against_float[0].not_faster
    assert slow.reason is reason
    said = words(notes(result), "CONV_2D")
    if board == PI3:
        assert "Cortex-A53 has no dot product instruction" in said
        assert "4 int8 a cycle, and 4 float32" in said
    elif reason is Reason.UNKNOWN:
        assert "nothing that is known here explains it" in said


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.8, Reason.MEMORY), (0.1, Reason.UNKNOWN), (3.0, Reason.UNKNOWN)],  # 3: out of a cache
)
def test_what_waits_for_the_memory(share: float, reason: Reason) -> None:
    """2 x 0.8 MB at 5.56 GB/s take 289 µs."""
    ns = round(2 * 112 * 112 * 64 / 5.56 / share)
    result = made_profile(
        profiled("f.tflite", [node("RELU", ns - 2, "float32", *MAP)], board=PI4),
        profiled("q.tflite", [node("RELU", ns, "int8", *MAP)], board=PI4),
    )
    (slow,) = result.int8_against_float[0].not_faster
    assert slow.reason is reason


@pytest.mark.parametrize(
    ("board", "reason"),
    [(None, Reason.DEPTHWISE), (PI5, Reason.DEPTHWISE), (PI3, Reason.NO_DOT_PRODUCT)],
)
def test_depthwise(board: str | None, reason: Reason) -> None:
    result = made_profile(
        profiled("f.tflite", [depthwise("float32", 900_000)], board=board),
        profiled("q.tflite", [depthwise("int8", 950_000)], board=board),
    )
    (slow,) = result.int8_against_float[0].not_faster
    assert slow.reason is reason


def test_operators_of_one_reason_share_a_sentence() -> None:
    floats = [conv("float32", 100_000, name=name) for name in "ab"]
    codes = [conv("int8", 110_000, name=name) for name in "ab"]
    result = made_profile(profiled("f.tflite", floats), profiled("q.tflite", codes))
    said = words(notes(result), "CONV_2D")
    assert "CONV_2D a (1×28×28×64) 110 µs, in float 100 µs; CONV_2D b" in said


def test_faster_operators_and_trifles_are_not_explained() -> None:
    floats = [conv("float32", 900_000), node("RESHAPE", 100, "float32", *SOFTMAX)]
    codes = [conv("int8", 400_000), node("RESHAPE", 200, "int8", *SOFTMAX)]
    (found,) = int8_against_float([profiled("f.tflite", floats), profiled("q.tflite", codes)])
    assert found.not_faster == ()


def test_the_slowest_come_first_and_only_some() -> None:
    floats = [conv("float32", 100_000, name=f"c{i}") for i in range(9)]
    codes = [conv("int8", 100_000 + 1000 * i, name=f"c{i}") for i in range(9)]
    (found,) = int8_against_float([profiled("f.tflite", floats), profiled("q.tflite", codes)])
    assert [slow.name for slow in found.not_faster] == ["c8", "c7", "c6", "c5", "c4"]


def test_pairs_hold_across_operators_that_one_file_lacks() -> None:
    floats = [conv("float32", 9_000, name="a"), node("RELU", 500, "float32", *MAP)]
    floats += [conv("float32", 9_000, name="b", size=14, channels=128)]
    codes = [conv("int8", 3_000, name="a"), conv("int8", 12_000, name="b", size=14, channels=128)]
    (found,) = int8_against_float([profiled("f.tflite", floats), profiled("q.tflite", codes)])
    assert [slow.name for slow in found.not_faster] == ["b"]


def onnx_conv(operator: str, ns: int, name: str, shape: tuple[int, ...], *weights: int) -> Operator:
    """A convolution in ONNX; of ``shape`` comes out, NCHW."""
    dtype = "uint8" if operator == "QLinearConv" else "float32"
    place = WEIGHTS[operator]
    inputs = [tensor(dtype, 1, weights[1], *shape[2:])] + [tensor("float32")] * (place - 1)
    return Operator(
        name=name,
        operator=operator,
        ns=ns,
        inputs=(*inputs, tensor(dtype, *weights)),
        outputs=(tensor(dtype, *shape),),
    )


BRANCH = (1, 32, 16, 16)


def test_branches_that_run_in_another_order() -> None:
    """A 3x3 convolution of 11 µs was once held against the 1x1 shortcut beside it, of 3 µs."""
    floats = [
        onnx_conv("Conv", 3000, "shortcut", BRANCH, 32, 16, 1, 1),
        onnx_conv("Conv", 11_000, "first", BRANCH, 32, 16, 3, 3),
        onnx_conv("Conv", 20_000, "second", BRANCH, 32, 32, 3, 3),
    ]
    codes = [
        onnx_conv("QLinearConv", 7000, "first", BRANCH, 32, 16, 3, 3),
        onnx_conv("QLinearConv", 8000, "shortcut", BRANCH, 32, 16, 1, 1),
        onnx_conv("QLinearConv", 9000, "second", BRANCH, 32, 32, 3, 3),
    ]
    (found,) = int8_against_float([profiled("f.onnx", floats), profiled("q.onnx", codes)])
    assert [(slow.name, slow.float_ns) for slow in found.not_faster] == [("shortcut", 3000)]


@pytest.mark.parametrize("block", [8, 16])
def test_channels_that_are_padded_in_float_alone(block: int) -> None:
    padded = onnx_conv("Conv", 4000, "a", (1, block, 16, 16), block, block, 3, 3)
    plain = onnx_conv("QLinearConv", 9000, "a", (1, 6, 16, 16), 6, 6, 3, 3)
    (found,) = int8_against_float([profiled("f.onnx", [padded]), profiled("q.onnx", [plain])])
    assert [slow.name for slow in found.not_faster] == ["a"]


def test_weights_of_which_a_device_tells_no_shape() -> None:
    strange = onnx_conv("QLinearConv", 9000, "a", BRANCH, 32, 16, 1, 1)
    strange = strange.model_copy(update={"inputs": (*strange.inputs[:3], tensor("uint8"))})
    floats = profiled("f.onnx", [onnx_conv("Conv", 9, "a", BRANCH, 32, 16, 1, 1)])
    assert int8_against_float([floats, profiled("q.onnx", [strange])]) == ()


@pytest.mark.parametrize(("ns", "reported"), [(2000, []), (3000, []), (4000, ["QGemm"])])
def test_a_step_of_the_clock_is_no_difference(ns: int, reported: list[str]) -> None:
    floats = profiled("f.onnx", [node("Gemm", 2000, "float32", *SOFTMAX)], tick_ns=1000)
    codes = profiled("q.onnx", [node("QGemm", ns, "uint8", *SOFTMAX)], tick_ns=1000)
    (found,) = int8_against_float([floats, codes])
    assert [slow.operator for slow in found.not_faster] == reported


def test_each_reading_of_a_clock_adds_its_step() -> None:
    floats = profiled("f.onnx", [node("Erf", 5000, "float32", *SOFTMAX)], tick_ns=1000)
    around = [
        node("DequantizeLinear", 1000, "uint8", *SOFTMAX, into="float32"),
        node("Erf", 6000, "float32", *SOFTMAX),
        node("QuantizeLinear", 1000, "float32", *SOFTMAX, into="uint8"),
    ]
    (found,) = int8_against_float([floats, profiled("q.onnx", around, tick_ns=1000)])
    assert found.not_faster == ()


def test_digits_are_those_of_the_clock() -> None:
    one = onnx_conv("Conv", 3000, "a", BRANCH, 32, 16, 1, 1)
    result = made_profile(
        profiled("f.onnx", [one, node("Relu", 0, "float32", *SOFTMAX)], tick_ns=1000)
    )
    cells = [[str(cell) for cell in column.cells] for column in operators_table(result).columns]
    assert cells[4:7] == [["3 µs", "< 1 µs"], ["100%", "0%"], ["40", "-"]]
    assert any("f.onnx: 3 µs in kernels: Conv 100%, Relu 0%" in line for line in notes(result))


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        (".onnx", "QuantizeLinear and DequantizeLinear"),
        (".tflite", "QUANTIZE and DEQUANTIZE"),
    ],
)
def test_conversions_are_called_as_in_the_file(suffix: str, names: str) -> None:
    kind = {".onnx": "DequantizeLinear", ".tflite": "DEQUANTIZE"}[suffix]
    codes = [conv("int8", 9000), node(kind, 1000, "int8", *SOFTMAX, into="float32")]
    result = made_profile(
        profiled(f"f{suffix}", [conv("float32", 9900)]), profiled(f"q{suffix}", codes)
    )
    assert any(f"10.0% of it goes into {names}" in line for line in notes(result))


def test_the_table_stays_within_80_columns() -> None:
    """Long names stand above their figures; what does not fit is left out, and a note says so."""
    long = [
        conv("float32", 9000, name="/features/features.0/conv/conv.0/conv.0.0/Conv_quant"),
        conv("float32", 12_345_678, name="b"),
    ]
    result = made_profile(profiled("a.onnx", long), profiled(f"{'n' * 90}.tflite", long))
    out = console()
    with out.capture() as said:
        out.print(narrow_operators_table(result))
    lines = said.get().splitlines()
    names = [line.strip() for line in lines if len(line.rstrip()) > 80]
    assert names == [f"{'n' * 90}.tflite"]
    assert "/features/features.0/conv/conv.0/conv.0.0/Conv_quant" in {
        each.strip() for each in lines
    }
    assert sum("99.9%" in line for line in lines) == 2
    everything = [column.header for column in operators_table(result).columns]
    shown = said.get()
    left_out = [name for name in everything[1:] if str(name) not in shown]
    noted = [line for line in narrow_notes(result) if line.startswith("--wide also shows")]
    assert noted == ([f"--wide also shows {', '.join(map(str, left_out))}"] if left_out else [])


def test_one_other_operator() -> None:
    many = [conv("float32", 9000, name=f"c{index}") for index in range(16)]
    cells = operators_table(made_profile(profiled("f.tflite", many))).columns[1].cells
    assert str(list(cells)[-1]) == "1 other"


def test_more_threads_than_cpus() -> None:
    result = made_profile(profiled("f.tflite", [conv("float32", 9000)]))
    options = result.options.model_copy(update={"threads": 5})
    reported = notes(result.model_copy(update={"options": options}))
    assert any("5 threads share 4 CPUs" in line for line in reported)


def test_names_of_onnx_runtime() -> None:
    floats = [node("FusedConv", 500, "float32", *MAP), node("FusedGemm", 90, "float32", *SOFTMAX)]
    codes = [node("QLinearConv", 600, "uint8", *MAP), node("QGemm", 80, "uint8", *SOFTMAX)]
    (found,) = int8_against_float([profiled("f.onnx", floats), profiled("q.onnx", codes)])
    assert [slow.operator for slow in found.not_faster] == ["QLinearConv"]


@pytest.mark.parametrize(
    "others",
    [
        [],
        [("g.onnx", [conv("float32", 9)])],  # the other format
        [("g.tflite", [node("TANH", 9, "float32", *SOFTMAX)])],  # another network
        [("g.tflite", [conv("int8", 9)])],
        [("g.tflite", [DYNAMIC])],
    ],
)
def test_files_without_a_counterpart(others: list) -> None:  # type: ignore[type-arg]
    models = [profiled("q.tflite", [conv("int8", 9)])]
    models += [profiled(name, operators) for name, operators in others]
    assert int8_against_float(models) == ()


def test_the_most_alike_float_file_is_taken() -> None:
    floats = [conv("float32", 9), node("TANH", 9, "float32", *SOFTMAX)]
    codes = [conv("int8", 9), node("TANH", 9, "int8", *SOFTMAX)]
    other = profiled("other.tflite", [conv("float32", 9)])
    models = [other, profiled("f.tflite", floats), profiled("q.tflite", codes)]
    (found,) = int8_against_float(models)
    assert found.float_file == "f.tflite"


def test_columns_of_a_known_board() -> None:
    """1.8 GHz, 4 and 8 multiply-accumulates a cycle: 3.21 M of them take 446 µs in float32."""
    result = made_profile(profiled("f.tflite", [conv("float32", 892_000)], board=PI4))
    columns = {column.header: list(column.cells) for column in operators_table(result).columns}
    assert [str(columns[name][0]) for name in ("Roof", "Of roof", "Bound by")] == [
        "446 µs",
        "50%",
        "compute",
    ]
    (roofs,) = (line for line in notes(result) if line.startswith("roofs of"))
    assert "Raspberry Pi 4 Model B, cores: 1 at 1800 MHz (its nominal frequency)" in roofs
    assert "7.20 GMAC/s in float32, 14.4 GMAC/s in int8, 5.56 GB/s" in roofs


def test_no_columns_of_another_machine() -> None:
    result = made_profile(profiled("f.tflite", [conv("float32", 892_000)]))
    assert "Roof" not in [column.header for column in operators_table(result).columns]
    assert any("no roofline: the peaks of Cortex-A72 are not known" in n for n in notes(result))
