"""The arithmetic of the roofs, and the boards that are known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.bench.profile.roofline import (
    Arithmetic,
    Limit,
    Peaks,
    arithmetic,
    is_depthwise,
    macs,
    moved_bytes,
)
from edgeconv.bench.profile.roofline_boards import BOARDS, Board, board_called
from edgeconv.device.messages import Operator
from support.profiles import PI3, PI4, PI5, conv, depthwise, node, tensor

boards = st.sampled_from(BOARDS)
dtypes = st.sampled_from(["float32", "int8"])
sizes = st.integers(1, 64)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (PI3, "Raspberry Pi 3 Model B Plus"),
        ("Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi 3 Model B"),
        (PI4, "Raspberry Pi 4 Model B"),
        ("Raspberry Pi 400 Rev 1.0", "Raspberry Pi 400"),
        (PI5, "Raspberry Pi 5 Model B"),
        ("Raspberry Pi 500 Rev 1.0", "Raspberry Pi 500"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "Raspberry Pi Zero 2 W"),
    ],
)
def test_boards_by_their_device_tree(text: str, model: str) -> None:
    board = board_called(text)
    assert board is not None
    assert board.model == model


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "Raspberry Pi 2 Model B Rev 1.1",
        "Raspberry Pi 40 Rev 1.0",
        "Raspberry Pi 4 Model B",
        # What an emulated board calls itself: its times are no board's.
        "Raspberry Pi 4 Model B Rev 1.4 (emulated)",
    ],
)
def test_boards_that_are_not_known(text: str | None) -> None:
    assert board_called(text) is None


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.model)
def test_every_figure_has_its_source(board: Board) -> None:
    assert "github.com" in board.core.source
    assert "github.com" in board.one_core_source
    assert (board.all_cores_bandwidth is None) == (board.all_cores_source is None)
    assert board.core.dot_product == (board.core.int8 > 2 * board.core.float32)


@pytest.mark.parametrize(
    ("name", "kind", "hertz", "threads", "operations"),
    [
        (PI3, Arithmetic.FLOAT32, 1.2e9, 1, 9.40),
        (PI3, Arithmetic.FLOAT32, 1.2e9, 4, 37.2),
        (PI4, Arithmetic.FLOAT32, 1.5e9, 1, 11.96),
        (PI4, Arithmetic.FLOAT32, 1.5e9, 4, 47.9),
        (PI5, Arithmetic.FLOAT32, 2.4e9, 1, 38.37),
        (PI5, Arithmetic.INT8, 2.4e9, 4, 614.0),
    ],
)
def test_what_was_measured_on_the_boards_comes_out(
    name: str, kind: Arithmetic, hertz: float, threads: int, operations: float
) -> None:
    """GFLOPS and GOPS of the sources, two operations a multiply-accumulate. Loops and timers cost
    their authors up to 4 %; no measurement exceeded a peak."""
    board = board_called(name)
    assert board is not None
    peak = 2 * Peaks.of(board, hertz, threads).macs_per_ns[kind]
    assert 0.96 * peak < operations <= peak


@given(boards, dtypes, sizes, sizes)
def test_a_roof_is_the_slower_of_both_bounds(
    board: Board, dtype: str, size: int, channels: int
) -> None:
    operator = conv(dtype, 1, size=size, channels=channels)
    peaks = Peaks.of(board, 1e6 * board.megahertz, 1)
    roof = peaks.roof(operator)
    assert roof is not None
    compute = size * size * channels * channels / peaks.macs_per_ns[Arithmetic(dtype)]
    width = 4 if dtype == "float32" else 1
    moved = width * (2 * size * size * channels + channels * channels)
    memory = moved / (board.one_core_bandwidth / 1e9)
    assert roof.ns == pytest.approx(max(compute, memory))
    assert roof.limit is (Limit.COMPUTE if compute >= memory else Limit.MEMORY)


@given(boards, st.integers(1, 16), st.floats(1e8, 3e9))
def test_peaks_scale_with_the_cores_and_the_frequency(
    board: Board, threads: int, hertz: float
) -> None:
    one, many = Peaks.of(board, hertz, 1), Peaks.of(board, hertz, threads)
    assert many.cores == min(threads, board.cores)
    for kind, peak in many.macs_per_ns.items():
        assert peak == pytest.approx(many.cores * one.macs_per_ns[kind])
        assert peak == pytest.approx(hertz / 1e9 * Peaks.of(board, 1e9, threads).macs_per_ns[kind])


def test_several_cores_share_a_memory_whose_bandwidth_may_be_unknown() -> None:
    """Then only the arithmetic bounds an operator, and what has none has no roof."""
    pi4 = board_called(PI4)
    assert pi4 is not None
    peaks = Peaks.of(pi4, 1.8e9, 4)
    assert peaks.bytes_per_ns is None
    assert peaks.roof(node("ADD", 1, "int8", 1, 8, 8, 4)) is None
    roof = peaks.roof(conv("int8", 1))
    assert roof is not None
    assert roof.limit is Limit.COMPUTE


def test_what_moves_no_products_is_bound_by_the_memory() -> None:
    pi5 = board_called(PI5)
    assert pi5 is not None
    roof = Peaks.of(pi5, 2.4e9, 1).roof(node("ADD", 1, "float32", 1, 100, 100, 32))
    assert roof is not None
    assert (roof.limit, roof.ns) == (Limit.MEMORY, pytest.approx(2 * 4 * 320_000 / 12.05))


@pytest.mark.parametrize(
    ("activations", "weights", "kind"),
    [
        ("float32", "float32", Arithmetic.FLOAT32),
        ("int8", "int8", Arithmetic.INT8),
        ("uint8", "int8", Arithmetic.INT8),
        ("float32", "int8", Arithmetic.INT8),  # dynamic range
        ("int16", "int8", None),  # 16x8
        ("float16", "float16", None),
    ],
)
def test_arithmetic(activations: str, weights: str, kind: Arithmetic | None) -> None:
    scale = tensor("float32")
    tflite = Operator(
        name="",
        operator="CONV_2D",
        ns=1,
        inputs=(tensor(activations, 1, 8, 8, 3), tensor(weights, 4, 3, 3, 3)),
        outputs=(),
    )
    onnx = Operator(
        name="",
        operator="QLinearConv",
        ns=1,
        inputs=(tensor(activations, 1, 3, 8, 8), scale, scale, tensor(weights, 4, 3, 3, 3)),
        outputs=(),
    )
    assert arithmetic(tflite) is arithmetic(onnx) is kind


def test_depthwise_convolutions() -> None:
    """No dot product serves them, so on the A76 their int8 peak is unknown: memory bounds them."""
    pi3, pi5 = board_called(PI3), board_called(PI5)
    assert pi3 is not None
    assert pi5 is not None
    int8, float32 = depthwise("int8", 1), depthwise("float32", 1)
    assert macs(int8) == 28 * 28 * 64 * 9
    assert (arithmetic(int8), arithmetic(float32)) == (
        Arithmetic.INT8_DEPTHWISE,
        Arithmetic.FLOAT32,
    )
    slow, fast = Peaks.of(pi3, 1.4e9, 1).roof(int8), Peaks.of(pi5, 2.4e9, 1).roof(int8)
    assert slow is not None
    assert fast is not None
    assert (slow.limit, fast.limit) == (Limit.COMPUTE, Limit.MEMORY)


@pytest.mark.parametrize(
    ("shape", "weights", "depthwise"),
    [
        ((1, 32, 8, 8), (32, 1, 3, 3), True),
        ((1, 8, 8, 32), (32, 1, 3, 3), True),  # ONNX Runtime's own layout
        ((1, 32, 8, 8), (16, 32, 1, 1), False),
        ((1, 1, 28, 28), (8, 1, 3, 3), False),  # a gray image
    ],
)
def test_depthwise_convolutions_of_onnx(
    shape: tuple[int, ...], weights: tuple[int, ...], depthwise: bool
) -> None:
    operator = Operator(
        name="",
        operator="Conv",
        ns=1,
        inputs=(tensor("float32", *shape), tensor("float32", *weights)),
        outputs=(),
    )
    assert is_depthwise(operator) is depthwise


def test_bytes() -> None:
    assert moved_bytes(conv("int8", 1, size=2, channels=3)) == 12 + 9 + 12
    assert moved_bytes(conv("float32", 1, size=2, channels=3)) == 4 * 33
    left_out = Operator(
        name="",
        operator="CONV_2D",
        ns=1,
        inputs=(tensor("int8", 4), tensor("", 0)),
        outputs=(tensor("int32"),),
    )
    assert moved_bytes(left_out) == 8
    assert moved_bytes(node("CAST", 1, "resource", 1)) is None


@given(dtypes, sizes, sizes)
def test_macs_are_those_of_the_formula(dtype: str, size: int, channels: int) -> None:
    assert macs(conv(dtype, 1, size=size, channels=channels)) == math.prod(
        (size, size, channels, channels)
    )
