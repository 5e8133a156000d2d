"""Count the forms in which int8 operators can be written, under tflite-runtime 2.14.

The forms that files for it get (``export/tflite/forms.py``) are chosen on single operators; whole
networks, with and without them, are reported. QEMU counts (docs/emulated-pi.md), so any machine
gives the same figures.

    .venv/bin/python -m benchmarks.operator_forms
    .venv/bin/python -m benchmarks.operator_forms --only operators|networks  # it is only printed

Each of the two parts takes a quarter of an hour and more on two busy cores; most of it is emulated
Pythons that start.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.arm_instructions import CALIBRATION_SIZE, millions, ratio, subject
from benchmarks.measuring import markdown_table, publish
from edgeconv import models
from edgeconv.bench.instructions import CountOptions, count
from edgeconv.bundle import Format, Precision
from edgeconv.device.emulated import EmulatedDevice
from edgeconv.device.messages import Runtime
from edgeconv.export import export
from edgeconv.export.tflite.graph import (
    ChannelQuantization,
    Graph,
    Operator,
    Padding,
    Quantization,
    Tensor,
)
from edgeconv.export.tflite.writer import write
from edgeconv.models.randomize import randomize_

BOARDS = ("pi3-32", "pi4")
NETWORKS = ("ds_cnn", "resnet8", "mobilenet_v3_small", "mobilenet_v2")
RUNTIME = "tflite-runtime==2.14"
Shape = tuple[int, ...]
Form = Callable[[Shape], bytes]
INT8, INT32, FLOAT = np.dtype("int8"), np.dtype("int32"), np.dtype("float32")
IN, OUT = Quantization(8 / 255, 3), Quantization(6.5 / 255, -97)
UNIT = Quantization(1 / 256, -128)


class File:
    """A file under construction; its first input is ``x``."""

    def __init__(self, shape: Shape) -> None:
        self.graph = Graph()
        self.x = self.input(shape)

    def input(self, shape: Shape, q: Quantization = IN) -> Tensor:
        tensor = Tensor(f"x{len(self.graph.inputs)}", shape, INT8, None, q)
        self.graph.inputs.append(tensor)
        return tensor

    def constant(self, values: npt.ArrayLike, dtype: Any = INT32, q: Any = None) -> Tensor:
        array = np.asarray(values, dtype)
        return Tensor("constant", array.shape, array.dtype, array, q)

    def op(
        self,
        name: str,
        *inputs: Tensor,
        shape: Shape | None = None,
        q: Quantization | None = OUT,
        **options: Any,
    ) -> Tensor:
        """Add an operator; its result is float where ``q`` is None."""
        place = inputs[0].shape if shape is None else shape
        made = Tensor(f"t{len(self.graph.operators)}", place, INT8 if q else FLOAT, None, q)
        self.graph.operators.append(Operator(name, inputs, [made], options))
        return made

    def real(self, x: Tensor) -> Tensor:
        return self.op("DEQUANTIZE", x, q=None)

    def data(self, *outputs: Tensor) -> bytes:
        self.graph.outputs.extend(outputs)
        return bytes(write(self.graph))


def steps(*names: str, **options: Any) -> Form:
    """int8 to float, operators, and back."""

    def form(shape: Shape) -> bytes:
        f = File(shape)
        y = f.real(f.x)
        for name in names:
            y = f.op(name, y, q=None, **options)
        return f.data(f.op("QUANTIZE", y))

    return form


def kernel(name: str, q: Quantization = OUT, **options: Any) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        return f.data(f.op(name, f.x, q=q, **options))

    return form


def border(shape: Shape) -> bytes:
    f = File(shape)
    n, h, w, c = shape
    amounts = f.constant([[0, 0], [1, 0], [1, 0], [0, 0]])
    return f.data(f.op("PAD", f.x, amounts, shape=(n, h + 1, w + 1, c), q=IN))


def joined_border(shape: Shape) -> bytes:
    f = File(shape)
    n, h, w, c = shape
    row = f.constant(np.full((n, 1, w, c), 3), INT8, IN)
    y = f.op("CONCATENATION", row, f.x, shape=(n, h + 1, w, c), q=IN, axis=1)
    column = f.constant(np.full((n, h + 1, 1, c), 3), INT8, IN)
    return f.data(f.op("CONCATENATION", column, y, shape=(n, h + 1, w + 1, c), q=IN, axis=2))


def joined(total: int, most: int) -> Form:
    """A concatenation of ``total`` parts, at most ``most`` at a time."""

    def form(shape: Shape) -> bytes:
        f = File(shape)
        rest = [f.x, *(f.input(shape) for _ in range(total - 1))]
        while len(rest) > 1:
            width = min(most, len(rest) - most + 1) if len(rest) > most else len(rest)
            channels = sum(part.shape[3] for part in rest[:width])
            place = (*shape[:3], channels)
            first = f.op("CONCATENATION", *rest[:width], shape=place, q=IN, axis=3)
            rest = [first, *rest[width:]]
        return f.data(rest[0])

    return form


def split(shape: Shape) -> bytes:
    f = File(shape)
    half = (*shape[:3], shape[3] // 2)
    made = [Tensor(f"half{index}", half, INT8, None, IN) for index in range(2)]
    f.graph.operators.append(Operator("SPLIT", [f.constant(3), f.x], made, {"numSplits": 2}))
    return f.data(*made)


def slices(shape: Shape) -> bytes:
    f = File(shape)
    half = (*shape[:3], shape[3] // 2)
    starts = ([0, 0, 0, 0], [0, 0, 0, half[3]])
    return f.data(
        *(f.op("SLICE", f.x, f.constant(s), f.constant(half), shape=half, q=IN) for s in starts)
    )


def large_depthwise(shape: Shape, *, integer: bool) -> bytes:
    f = File(shape)
    rng, place = np.random.default_rng(1), (1, 7, 7, shape[3])
    window = {"padding": Padding.SAME, "strideH": 1, "strideW": 1, "depthMultiplier": 1}
    if not integer:
        weight = f.constant(rng.normal(size=place), FLOAT)
        bias = f.constant(np.zeros(shape[3]), FLOAT)
        y = f.op("DEPTHWISE_CONV_2D", f.real(f.x), weight, bias, q=None, **window)
        return f.data(f.op("QUANTIZE", y))
    scales = np.full(shape[3], 0.004, np.float32)
    weight = f.constant(rng.integers(-127, 128, place), INT8, ChannelQuantization(scales, 3))
    sums = ChannelQuantization(scales * np.float32(IN.scale), 0)
    bias = f.constant(np.zeros(shape[3]), INT32, sums)
    return f.data(f.op("DEPTHWISE_CONV_2D", f.x, weight, bias, **window))


def resized(factor: float, *, integer: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        place = (1, int(shape[1] * factor), int(shape[2] * factor), shape[3])
        size = f.constant(place[1:3])
        x, q = (f.x, IN) if integer else (f.real(f.x), None)
        y = f.op("RESIZE_BILINEAR", x, size, shape=place, q=q, halfPixelCenters=True)
        return f.data(y if integer else f.op("QUANTIZE", y, q=IN))

    return form


def pooled(size: int, *, convolution: bool) -> Form:
    def form(shape: Shape) -> bytes:
        f = File(shape)
        channels = shape[3]
        place = (1, shape[1] - size + 1, shape[2] - size + 1, channels)
        window: dict[str, Any] = {"padding": Padding.VALID, "strideH": 1, "strideW": 1}
        if not convolution:
            window |= {"filterHeight": size, "filterWidth": size}
            return f.data(f.op("AVERAGE_POOL_2D", f.x, shape=place, q=IN, **window))
        scales = np.full(channels, 1 / size**2, np.float32)
        ones = np.ones((1, size, size, channels))
        weight = f.constant(ones, INT8, ChannelQuantization(scales, 3))
        sums = ChannelQuantization(scales * np.float32(IN.scale), 0)
        bias = f.constant(np.zeros(channels), INT32, sums)
        window["depthMultiplier"] = 1
        return f.data(f.op("DEPTHWISE_CONV_2D", f.x, weight, bias, shape=place, q=IN, **window))

    return form


def mean(shape: Shape) -> bytes:
    f = File(shape)
    axes = f.constant([1, 2])
    return f.data(f.op("MEAN", f.x, axes, shape=(1, 1, 1, shape[3]), q=IN, keepDims=True))


def product(shape: Shape, *, integer: bool) -> bytes:
    f = File(shape)
    other, place = f.input(shape), (*shape[:-1], shape[-2])
    if integer:
        return f.data(f.op("BATCH_MATMUL", f.x, other, shape=place, adjY=True))
    y = f.op("BATCH_MATMUL", f.real(f.x), f.real(other), shape=place, q=None, adjY=True)
    return f.data(f.op("QUANTIZE", y))


def gate(shape: Shape, *, integer: bool) -> bytes:
    f = File(shape)
    other = f.input((1, 1, 1, shape[3]), UNIT)
    if integer:
        return f.data(f.op("MUL", f.x, other))
    return f.data(f.op("QUANTIZE", f.op("MUL", f.real(f.x), f.real(other), q=None)))


@dataclass(frozen=True)
class Subject:
    """An operator in its usual form and in another."""

    title: str
    shape: Shape
    usual: tuple[str, Form]
    other: tuple[str, Form]


MAP = (1, 14, 14, 96)
TAKEN = (
    Subject("border", (1, 28, 28, 48), ("PAD", border), ("CONCATENATION twice", joined_border)),
    Subject(
        "concatenation of 8", (1, 14, 14, 12), ("five parts", joined(8, 5)), ("all", joined(8, 8))
    ),
    Subject(
        "concatenation of 16", (1, 7, 7, 32), ("five parts", joined(16, 5)), ("all", joined(16, 16))
    ),
    Subject("two halves", MAP, ("SPLIT", split), ("SLICE twice", slices)),
    Subject(
        "depthwise 7x7",
        MAP,
        ("float", lambda shape: large_depthwise(shape, integer=False)),
        ("int8", lambda shape: large_depthwise(shape, integer=True)),
    ),
    *(
        Subject(
            f"bilinear resize by {factor:g}",
            shape,
            ("int8", resized(factor, integer=True)),
            ("float", resized(factor, integer=False)),
        )
        for factor, shape in ((2, (1, 14, 14, 24)), (0.5, (1, 28, 28, 24)))
    ),
)
NOT_TAKEN = (
    Subject("small border", (1, 4, 4, 8), TAKEN[0].usual, TAKEN[0].other),
    Subject("change of scale", MAP, ("table", steps()), ("QUANTIZE", kernel("QUANTIZE"))),
    Subject("HardSwish", MAP, ("table", steps("HARD_SWISH")), ("kernel", kernel("HARD_SWISH"))),
    Subject(
        "LeakyRelu",
        MAP,
        ("table", steps("LEAKY_RELU", alpha=0.1)),
        ("kernel", kernel("LEAKY_RELU", alpha=0.1)),
    ),
    Subject(
        "mean of a map",
        (1, 7, 7, 160),
        ("MEAN", mean),
        ("AVERAGE_POOL_2D", pooled(7, convolution=False)),
    ),
    Subject(
        "average 3x3",
        MAP,
        ("DEPTHWISE_CONV_2D", pooled(3, convolution=True)),
        ("AVERAGE_POOL_2D", pooled(3, convolution=False)),
    ),
    *(
        Subject(
            "product of two",
            shape,
            ("float", lambda shape: product(shape, integer=False)),
            ("int8", lambda shape: product(shape, integer=True)),
        )
        for shape in ((1, 3, 49, 32), (1, 4, 64, 16))
    ),
    Subject(
        "gate",
        MAP,
        ("int8", lambda shape: gate(shape, integer=True)),
        ("float", lambda shape: gate(shape, integer=False)),
    ),
)


EXACT = (
    "The HARD_SWISH kernel and a single QUANTIZE have fewer instructions, but move values by a",
    "step: files stay exact.",
)
CHOSEN = (
    "Whole networks. The first convolution of ds_cnn is one of those on which it was chosen when",
    "several pixels are read as one; on the others no form was chosen.",
)


def counted(board: str, files: Sequence[Path]) -> list[int]:
    device = EmulatedDevice.parse(f"emulated:{board}")
    options = CountOptions(runtime=Runtime.TFLITE_RUNTIME)
    return [count([file], options, device).models[0].counts.total for file in files]


def cells(files: Sequence[Path]) -> Iterator[str]:
    for board in BOARDS:
        usual, other = counted(board, files)
        yield from (millions(usual), millions(other), ratio(other, usual))


def size(shape: Shape) -> str:
    return "x".join(map(str, shape))


def operator_rows(subjects: Sequence[Subject]) -> Iterator[list[str]]:
    for one in subjects:
        with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
            files = [Path(folder) / "usual.tflite", Path(folder) / "other.tflite"]
            for file, (_, form) in zip(files, (one.usual, one.other), strict=True):
                file.write_bytes(form(one.shape))
            yield [one.title, size(one.shape), one.usual[0], one.other[0], *cells(files)]


def network_rows() -> Iterator[list[str]]:
    for name in NETWORKS:
        one = subject(name, 0, full=True)
        options = {"input_size": one.shape[-1]} if len(set(one.shape[1:])) == 1 else {}
        options = {key: options[key] for key in options if key in models.model_options(name)}
        network = randomize_(models.create_model(name, **options), shape=one.shape)
        with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
            files = []
            for runtime in (None, RUNTIME):
                bundle = export(
                    network,
                    out=Path(folder) / str(runtime),
                    formats=[Format.TFLITE],
                    precisions=[Precision.INT8],
                    calibration="random",
                    calibration_size=CALIBRATION_SIZE,
                    input_size=one.shape,
                    verify=False,
                    runtime=runtime,
                )
                files.append(bundle.file(bundle.manifest.artifacts[0]))
            yield [name, size(one.shape), *cells(files)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("operators", "networks"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = [f"{board}: {what}" for board in BOARDS for what in ("usual", "other", "ratio")]
    forms = ["operator", "input", "usual form", "other form", *figures]
    lines = [
        "# Forms of int8 operators under tflite-runtime 2.14",
        "",
        "Million instructions of one inference on one thread, counted on emulated boards. A count",
        "is the same on every machine; it is not a time. The script is",
        "`benchmarks/operator_forms.py`. Shapes are N x H x W x C.",
    ]
    if given.only != "networks":
        lines += ["", "Forms that files for it get, and the shapes that they were chosen on:", ""]
        lines += markdown_table(forms, operator_rows(TAKEN))
        lines += ["", "Forms that they do not get:", ""]
        lines += markdown_table(forms, operator_rows(NOT_TAKEN))
        lines += ["", *EXACT]
    if given.only != "operators":
        lines += ["", *CHOSEN, ""]
        lines += markdown_table(["network", "input", *figures], network_rows())
    if given.only is None:
        publish("operator_forms", lines)
    else:
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
