"""Compare the integer form of single operators with the float form, in Arm instructions and errors.

The subjects are the operators that the TFLite export writes in integers and that the quantizer does
not quantize on its own account. Each file holds one operator with int8 inputs and outputs: once in
the integer form, once in float between DEQUANTIZE and QUANTIZE. Another table holds runs of
operators, with and without a rounding to int8 between them. QEMU counts the instructions
(docs/emulated-pi.md), so any machine gives the same figures.

    .venv/bin/python -m benchmarks.integer_operators
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from benchmarks.arm_instructions import litert_version
from benchmarks.measuring import markdown_table, publish
from edgeconv.device.emulated import Cpu, count_instructions
from edgeconv.device.messages import Runtime
from edgeconv.errors import MeasurementError
from edgeconv.export.tflite import lower, registry
from edgeconv.export.tflite.emit.elementwise import table as in_float_steps
from edgeconv.export.tflite.emit.elementwise import unary
from edgeconv.export.tflite.registry import Integer
from edgeconv.units import significant

Array = npt.NDArray[Any]

PLACES = {
    "A72": (Cpu.A72, Runtime.LITERT),
    "A76": (Cpu.A76, Runtime.LITERT),
    "2.14": (Cpu.A72, Runtime.TFLITE_RUNTIME),
}
"""The columns of instructions: where they are counted."""
MAP = (1, 128, 28, 28)
MATRIX = (196, 64)
CODES = np.iinfo(np.int8)


@dataclass(frozen=True)
class Scale:
    """Scale and zero point of an int8 tensor."""

    scale: float
    zero_point: int

    @staticmethod
    def of(low: float, high: float) -> Scale:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / 255)) or 1.0
        return Scale(scale, round(-128 - low / scale))

    def real(self, codes: Array) -> Array:
        return ((codes.astype(np.float32) - self.zero_point) * np.float32(self.scale)).astype("f4")

    def codes(self, real: Array) -> Array:
        rounded = np.rint(real.astype(np.float64) / self.scale) + self.zero_point
        return rounded.clip(CODES.min, CODES.max).astype(np.int8)


@dataclass(frozen=True)
class Data:
    """An operand that the network computes, of values from ``low`` to ``high``."""

    shape: tuple[int, ...] = MAP
    low: float = -4.0
    high: float = 4.0


@dataclass(frozen=True)
class Step:
    """An operator: its operands are the result before it, then ``rest``."""

    name: str
    rest: tuple[Data | Array, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    first: int = 0
    """The place of the result before it among the operands."""


@dataclass(frozen=True)
class Subject:
    """One operator, or several in a run."""

    title: str
    steps: tuple[Step, ...]
    data: Data = Data()
    same_scale: bool = False
    """The operator only moves elements: its result has the scale of its input."""


def one(name: str, *rest: Data | Array, same_scale: bool = False, **attributes: Any) -> Subject:
    return Subject(name, (Step(name, rest, attributes),), same_scale=same_scale)


def numbers(*values: float) -> Array:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


RNG = np.random.default_rng(0)
POSITIVE = Data(low=0.05)
MASK = RNG.random(MAP) > 0.5
FLAT = Data((MAP[1] * 49,))
ROWS = RNG.permutation(FLAT.shape[0])[: FLAT.shape[0] // 2].astype(np.int64)
HALF = Data((len(ROWS),))
HEADS = Data((1, 8, 49, 49))

SINGLE: tuple[Subject, ...] = (
    *(one(name) for name in ("Ceil", "Cos", "Exp", "Floor", "Round", "Sign", "Sin")),
    *(replace(one(name), data=POSITIVE) for name in ("Log", "Reciprocal", "Sqrt")),
    replace(one("Div", numbers(3.7)), title="Div by a number"),
    replace(one("Pow", numbers(2)), title="Pow 2"),
    replace(one("Pow", numbers(0.5)), title="Pow 1/2", data=POSITIVE),
    replace(one("PRelu", np.full((1, 1, 1), 0.2, "f4")), title="PRelu, one slope"),
    one("ReduceSum", np.array([2, 3]), keepdims=1),
    replace(one("ReduceSum", np.array([1]), keepdims=1), title="ReduceSum of rows",
            data=Data(MATRIX)),
    one("BatchNormalization", *(RNG.random(MAP[1]).astype("f4") + 0.5 for _ in range(4))),
    one("Sum", Data(low=-1, high=1)),
    Subject("Where", (Step("Where", (MASK, Data(low=-1, high=1)), first=1),)),
    one("GatherElements", np.broadcast_to(np.arange(28)[::-1], MAP).astype(np.int64), axis=3,
        same_scale=True),
    one("GatherND", np.array([[[0, 3], [0, 100]]]), same_scale=True),
    replace(one("ScatterElements", ROWS, HALF, same_scale=True), data=FLAT),
    replace(one("ScatterND", ROWS[:, np.newaxis], HALF, same_scale=True), data=FLAT),
    replace(one("Trilu", upper=1, same_scale=True), data=HEADS),
)  # fmt: skip

RUNS: tuple[Subject, ...] = (
    Subject("Sqrt, Reciprocal", (Step("Sqrt"), Step("Reciprocal")), POSITIVE),
    Subject("Neg, Exp", (Step("Neg"), Step("Exp"))),
    Subject("Div by a number, Sin", (Step("Div", (numbers(3.7),)), Step("Sin"))),
    Subject(
        "Exp, ReduceSum, Log",
        (Step("Exp"), Step("ReduceSum", (np.array([1]),), {"keepdims": 1}), Step("Log")),
        Data(MATRIX),
    ),
    Subject(
        "Where with -30, Exp", (Step("Where", (MASK, numbers(-30)), first=1), Step("Exp")), Data()
    ),
    Subject(
        "MatMul, Trilu, MatMul",
        (Step("MatMul", (HEADS,)), Step("Trilu", (), {"upper": 0}), Step("MatMul", (HEADS,))),
        HEADS,
    ),
)

OWN_KERNELS = {"Abs": "ABS", "Exp": "EXP", "Sqrt": "SQRT"}


class Graph:
    """The QDQ graph of a subject, int8 at its inputs and outputs."""

    def __init__(self, subject: Subject, *, rounded: bool) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, Array] = {}
        self._rounded = rounded
        self._model(subject)

    def _model(self, subject: Subject) -> None:
        value, real = self._input(subject.data, Scale.of(subject.data.low, subject.data.high))
        for index, step in enumerate(subject.steps):
            names, arrays = [value], [real]
            for item in step.rest:
                if isinstance(item, Data):
                    like = subject.data if subject.same_scale else item
                    name, array = self._input(item, Scale.of(like.low, like.high))
                else:
                    name, array = self._constant(item), item
                names.append(name)
                arrays.append(array)
            if step.first:
                for items in (names, arrays):
                    items.insert(step.first, items.pop(0))
            value = f"result{index}"
            self._nodes.append(helper.make_node(step.name, names, [value], **step.attributes))
            real = reference(step, arrays)
            scale = Scale.of(float(real.min()), float(real.max()))
            if subject.same_scale:
                scale = Scale.of(subject.data.low, subject.data.high)
            last = index == len(subject.steps) - 1
            if last or self._rounded:
                value = self._quantize(value, scale, last=last)
        self.wanted = scale.codes(real)
        shape = real.shape
        output = helper.make_tensor_value_info(value, TensorProto.INT8, shape)
        graph = helper.make_graph(self._nodes, "net", self._inputs, [output], self._constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        self.proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)

    def _input(self, data: Data, scale: Scale) -> tuple[str, Array]:
        rng = np.random.default_rng(len(self.feeds))
        real = rng.uniform(data.low, data.high, data.shape).astype("f4")
        name = f"input{len(self.feeds)}"
        self.feeds[name] = scale.codes(real)
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, data.shape))
        pair = self._pair(scale)
        self._nodes.append(helper.make_node("DequantizeLinear", [name, *pair], [f"{name}_real"]))
        return f"{name}_real", scale.real(self.feeds[name])

    def _quantize(self, value: str, scale: Scale, *, last: bool) -> str:
        pair = self._pair(scale)
        codes = f"{value}_codes"
        self._nodes.append(helper.make_node("QuantizeLinear", [value, *pair], [codes]))
        if last:
            return codes
        real = f"{value}_real"
        self._nodes.append(helper.make_node("DequantizeLinear", [codes, *pair], [real]))
        return real

    def _pair(self, scale: Scale) -> tuple[str, str]:
        return (
            self._constant(np.float32(scale.scale)),
            self._constant(np.array(scale.zero_point, np.int8)),
        )

    def _constant(self, array: Array | np.float32) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name


def reference(step: Step, operands: Sequence[Array]) -> Array:
    """Compute one operator with ONNX's reference implementation."""
    names = [f"operand{index}" for index in range(len(operands))]
    node = helper.make_node(step.name, names, ["result"], **step.attributes)
    (result,) = ReferenceEvaluator(node, opsets={"": 20}).run(
        None, dict(zip(names, operands, strict=True))
    )
    return np.asarray(result, np.float32)


def in_float(name: str) -> Any:
    """Take the integer form from an operator, as long as the context lasts."""
    return mock.patch.dict(registry._rules, {name: replace(rule(name), integer=Integer.NONE)})


def by(form: Callable[..., None], name: str) -> Any:
    """Write an operator as TFLite's own kernel or as a table, as long as the context lasts."""
    lower_so = partial(form, name=OWN_KERNELS[name])
    return mock.patch.dict(registry._rules, {name: replace(rule(name), lower=lower_so)})


def rule(name: str) -> registry.Rule:
    found = registry.rule(name)
    assert found is not None
    return found


@dataclass(frozen=True)
class Measured:
    """Instructions in each place, and how far the results are from the exact ones, in steps."""

    instructions: tuple[int | None, ...]
    differing: float
    largest: int
    operators: str

    def cells(self) -> list[str]:
        millions = ["-" if n is None else significant(n / 1e6) for n in self.instructions]
        return [*millions, f"{self.differing:.1%} by {self.largest}" if self.largest else "exact"]


def measure(graph: Graph, data: bytes, folder: Path) -> Measured:
    file = folder / "model.tflite"
    file.write_bytes(data)
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    for item in interpreter.get_input_details():
        codes = graph.feeds[item["name"]]
        if codes.ndim == 4:
            codes = np.moveaxis(codes, 1, -1)
        interpreter.set_tensor(item["index"], np.ascontiguousarray(codes))
    interpreter.invoke()
    result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if result.ndim == 4:
        result = np.moveaxis(result, -1, 1)
    off = np.abs(result.astype(int) - graph.wanted.astype(int))
    with ThreadPoolExecutor(2) as pool:
        counts = pool.map(lambda place: instructions(file, *place), PLACES.values())
    names = [item["op_name"] for item in interpreter._get_ops_details()]
    names = [name for name in names if name != "DELEGATE"]
    return Measured(tuple(counts), float(np.mean(off > 0)), int(off.max()), " ".join(names))


def instructions(file: Path, cpu: Cpu, runtime: Runtime) -> int | None:
    """Count one inference; None if the runtime refuses the file."""
    try:
        return count_instructions(file, cpu, runtime).total
    except MeasurementError:
        return None


@dataclass(frozen=True)
class Form:
    """One way to write a subject: what to change while it is lowered, and whether to round."""

    title: str
    change: Callable[[str], Any] = nullcontext
    rounded: bool = False


INTEGER_OR_FLOAT = Form("integer"), Form("float", change=in_float)
KERNEL_OR_TABLE = (
    Form("kernel", change=partial(by, unary)),
    Form("table", change=partial(by, in_float_steps)),
)
ROUNDED_OR_NOT = Form("rounded", rounded=True), Form("not rounded")


def rows(subjects: Sequence[Subject], forms: tuple[Form, Form]) -> Iterator[list[str]]:
    for subject in subjects:
        cells = [subject.title, "x".join(str(size) for size in subject.data.shape)]
        for form in forms:
            graph = Graph(subject, rounded=form.rounded)
            with form.change(subject.steps[0].name):
                lowered = lower(ir.from_proto(graph.proto))
            with tempfile.TemporaryDirectory(prefix="edgeconv-") as folder:
                measured = measure(graph, bytes(lowered.data), Path(folder))
            sys.stderr.write(f"{subject.title}, {form.title}: {measured}\n")
            cells += measured.cells()
        yield cells


def table(subjects: Sequence[Subject], forms: tuple[Form, Form]) -> list[str]:
    columns = ["operator", "input"]
    for form in forms:
        columns += [f"{form.title}: {part}" for part in (*PLACES, "off")]
    return markdown_table(columns, rows(subjects, forms))


def main() -> None:
    publish(
        "integer_operators",
        [
            "# Integer and float forms of single operators",
            "",
            f"Million instructions of one inference under LiteRT {litert_version()} on one thread,",
            "on emulated Cortex-A72 (Pi 4) and Cortex-A76 (Pi 5) cores, and under tflite-runtime",
            "2.14 on the Cortex-A72 (- where it refuses the file). Inputs and outputs are int8.",
            '"Off" is the share of the results that differ from the exact ones, which are rounded',
            "once, and by how many steps at most (under LiteRT).",
            "",
            *table(SINGLE, INTEGER_OR_FLOAT),
            "",
            "Most one-element functions have the same form twice: a sequence that XNNPACK replaces",
            "with a table. TFLite's own int8 kernels, and such tables:",
            "",
            *table([replace(one(name), data=POSITIVE) for name in OWN_KERNELS], KERNEL_OR_TABLE),
            "",
            "Runs of operators, with and without a rounding to int8 between them:",
            "",
            *table(RUNS, ROUNDED_OR_NOT),
        ],
    )


if __name__ == "__main__":
    main()
