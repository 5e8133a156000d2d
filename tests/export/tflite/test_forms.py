"""The forms of int8 operators for tflite-runtime 2.14: which there are, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeconv.bundle import Bundle, Format, Layout, Precision
from edgeconv.export import export
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.forms import USUAL, Form, forms_for
from edgeconv.models.randomize import randomize_
from support.lowering import STEP, Array, Net, as_model, in_layout, operators, smooth
from support.runtimes import run_onnx, run_tflite

OldRuntime = Callable[[bytes, dict[str, Array]], dict[str, Array]]
IN, OUT = (0.03, 120), (0.05, 100)
Build = Callable[[Net, str], str]


@dataclass(frozen=True)
class Case:
    """A net whose operator has a form of its own: the operators in both forms."""

    form: Form
    shape: tuple[int, ...]
    build: Build
    usual: list[str]
    other: list[str]
    identical: bool = True
    """Both forms compute the same integers on every kernel, not only up to the rounding."""


def weight(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).normal(0, 0.3, shape).astype(np.float32)


def convolution(out: int, inner: int, kernel: tuple[int, int], **attributes: object) -> Build:
    def build(net: Net, x: str) -> str:
        operand, _ = net.int8_weight(weight(out, inner, *kernel), 0)
        return str(net.op("Conv", x, operand, kernel_shape=kernel, **attributes))

    return build


def pad(value: float) -> Build:
    def build(net: Net, x: str) -> str:
        pads = net.constant(np.array([0, 0, 1, 2, 0, 1, 0, 1]))  # one channel behind
        return str(net.op("Pad", x, pads, net.constant(np.float32(value))))

    return build


def joined(net: Net, x: str) -> str:
    return str(net.op("Concat", *[x] * 7, axis=1))


def halves(net: Net, x: str) -> str:
    first, second = net.op("Split", x, outputs=2, axis=1, num_outputs=2)
    return str(net.op("Concat", second, first, axis=1))


def resized(size: int) -> Build:
    def build(net: Net, x: str) -> str:
        sizes = net.constant(np.array([1, 8, size, size]))
        return str(net.op("Resize", x, "", "", sizes, mode="linear"))

    return build


def hard_sigmoid(net: Net, x: str) -> str:
    return str(net.op("HardSigmoid", x, alpha=1 / 6))


STRIDED = convolution(8, 1, (3, 3), group=8, strides=(2, 2), pads=(1, 1, 1, 1))
LARGE = convolution(8, 1, (7, 7), group=8, pads=(3, 3, 3, 3))
SPECTRUM = convolution(8, 1, (10, 4), strides=(2, 2), pads=(4, 1, 5, 1))
TWICE = ["CONCATENATION"] * 2

CASES = {
    "padded convolution": Case(
        Form.JOINED_BORDERS, (1, 8, 8, 8), STRIDED,
        ["PAD", "DEPTHWISE_CONV_2D"], [*TWICE, "DEPTHWISE_CONV_2D"],
    ),
    "small padded convolution": Case(
        Form.JOINED_BORDERS, (1, 8, 4, 4), STRIDED,
        ["PAD", "DEPTHWISE_CONV_2D"], ["PAD", "DEPTHWISE_CONV_2D"],
    ),
    "pad": Case(
        Form.JOINED_BORDERS, (1, 16, 8, 8), pad(0.0), ["PAD"], ["CONCATENATION"] * 3,
    ),
    "pad with a number": Case(
        Form.JOINED_BORDERS, (1, 16, 8, 8), pad(-0.6), ["PADV2"], ["CONCATENATION"] * 3,
    ),
    "wide concatenation": Case(
        Form.WIDE_CONCATENATION, (1, 8, 4, 4), joined, TWICE, ["CONCATENATION"],
    ),
    "split": Case(
        Form.SLICES, (1, 8, 4, 4), halves,
        ["SPLIT", "CONCATENATION"], ["SLICE", "SLICE", "CONCATENATION"],
    ),
    "spectrogram": Case(
        Form.WHOLE_WINDOWS, (1, 1, 49, 10), SPECTRUM,
        ["PAD", "RESHAPE", "CONV_2D", "RESHAPE"], ["CONV_2D"],
    ),
    "large depthwise kernel": Case(
        Form.LARGE_DEPTHWISE, (1, 8, 9, 9), LARGE,
        ["DEQUANTIZE", "DEPTHWISE_CONV_2D", "QUANTIZE"], ["DEPTHWISE_CONV_2D"], identical=False,
    ),
    "resize": Case(
        Form.FLOAT_RESIZE, (1, 8, 6, 6), resized(9),
        ["RESIZE_BILINEAR"], ["DEQUANTIZE", "RESIZE_BILINEAR", "QUANTIZE"], identical=False,
    ),
    "resize to much less": Case(
        Form.FLOAT_RESIZE, (1, 8, 12, 12), resized(4),
        ["RESIZE_BILINEAR"], ["RESIZE_BILINEAR"], identical=False,
    ),
    "limits": Case(
        Form.SATURATING_LIMITS, (1, 8, 4, 4), hard_sigmoid,
        ["DEQUANTIZE", "MUL", "ADD", "MAXIMUM", "MINIMUM", "QUANTIZE"],
        ["DEQUANTIZE", "MUL", "ADD", "QUANTIZE"],
    ),
}  # fmt: skip


def net_of(case: Case) -> tuple[Net, tuple[float, int]]:
    net = Net()
    moves = case.build in (joined, halves) or case.usual[0] in ("PAD", "PADV2", "RESIZE_BILINEAR")
    out = IN if moves and "DEPTHWISE_CONV_2D" not in case.usual else OUT
    if case.build is hard_sigmoid:
        out = 1 / 254, 1
    y = case.build(net, net.quantized(net.input("x", case.shape), *IN))
    return net.output(net.quantized(y, *out)), out


def body(names: list[str]) -> list[str]:
    """The operators between those that make int8 of the input and float of the output."""
    assert (names[0], names[-1]) == ("QUANTIZE", "DEQUANTIZE")
    return names[1:-1]


@pytest.mark.parametrize("name", CASES)
def test_the_operators_of_a_form(name: str) -> None:
    case = CASES[name]
    model = as_model(net_of(case)[0].proto())
    assert body(operators(lower(model))) == case.usual
    assert body(operators(lower(model, forms=frozenset({case.form})))) == case.other
    others = frozenset(Form) - {case.form}
    assert body(operators(lower(model, forms=others))).count("PAD") <= case.usual.count("PAD")


@pytest.mark.parametrize("name", CASES)
def test_what_a_form_computes_on_litert(name: str) -> None:
    case = CASES[name]
    net, (step, _) = net_of(case)
    x = smooth(case.shape)
    lowered = lower(as_model(net.proto()), forms=frozenset(Form))
    (expected,) = run_onnx(net.proto(), {"x": x}).values()
    (got,) = run_tflite(lowered.data, {"x": in_layout(x, Layout.NHWC)}).values()
    assert np.ptp(expected) > 20 * step
    assert np.abs(got - in_layout(expected, Layout.NHWC)).max() <= STEP * step


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_a_form_computes_on_tflite_runtime(name: str, tflite214: OldRuntime) -> None:
    """It is exact where only elements move, and else as exact as the usual form."""
    case = CASES[name]
    net, (step, _) = net_of(case)
    x = smooth(case.shape)
    model = as_model(net.proto())
    feeds = {"x": in_layout(x, Layout.NHWC)}
    (usual,) = tflite214(bytes(lower(model).data), feeds).values()
    (other,) = tflite214(bytes(lower(model, forms=frozenset(Form)).data), feeds).values()
    if case.identical:
        np.testing.assert_array_equal(other, usual)
    (expected,) = run_onnx(net.proto(), {"x": x}).values()
    off = np.abs(other - in_layout(expected, Layout.NHWC)) > step / 2
    off_usually = np.abs(usual - in_layout(expected, Layout.NHWC)) > step / 2
    assert np.abs(other - in_layout(expected, Layout.NHWC)).max() <= STEP * step
    # One code in a hundred more may lie on a tie.
    assert off.mean() <= off_usually.mean() + 0.01


@pytest.mark.parametrize(
    ("runtime", "forms"),
    [
        (None, USUAL),
        ("ai-edge-litert==2.3.0", USUAL),
        ("tflite-runtime==2.13.0", USUAL),  # not counted
        ("tflite-runtime==2.14", frozenset(Form)),
        ("tflite-runtime==2.14.0", frozenset(Form)),
    ],
)
def test_the_runtime_decides(runtime: str | None, forms: frozenset[Form]) -> None:
    assert forms_for(runtime) == forms


def test_files_of_every_batch_keep_their_pads() -> None:
    """What is joined would follow the batch: it would be made anew in every inference."""
    forms = forms_for("tflite-runtime==2.14.0", dynamic_batch=True)
    assert forms == frozenset(Form) - {Form.JOINED_BORDERS}
    assert forms_for(None, dynamic_batch=True) == USUAL


@pytest.mark.slow
def test_an_export_for_the_runtime(tmp_path: Path) -> None:
    """int8 gets the forms, float32 does not, and verification runs the forms too."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Conv2d(8, 8, 1),
    )  # fmt: skip
    randomize_(network, shape=(3, 16, 16))

    def exported(runtime: str | None) -> Bundle:
        return export(
            network,
            out=tmp_path / str(runtime),
            formats=[Format.TFLITE],
            precisions=[Precision.FLOAT32, Precision.INT8],
            calibration="random",
            calibration_size=8,
            input_size=(3, 16, 16),
            runtime=runtime,
        )

    for runtime, int8_has in ((None, "PAD"), ("tflite-runtime==2.14", "CONCATENATION")):
        for artifact in exported(runtime).manifest.artifacts:
            is_int8 = artifact.precision is Precision.INT8
            borders = {"PAD", "CONCATENATION"} & artifact.operators.keys()
            assert borders == {int8_has if is_int8 else "PAD"}
            assert artifact.verification is not None
            assert artifact.verification.passed
