"""Which function lowers which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import onnx_ir as ir

from edgeconv.export.tflite.legalize.call import Call
from edgeconv.export.tflite.legalize.decompose import Decomposer
from edgeconv.export.tflite.node_lowering import NodeLowering

Lower = Callable[[NodeLowering], None]
Decompose = Callable[[Decomposer], Sequence[ir.Value]]

STANDARD = ("", "ai.onnx")
"""The names of the standard's own domain."""

SHARED = {"QuantizeLinear", "DequantizeLinear", "Gelu"}
"""Operators that ONNX Runtime's own domain has with the same meaning."""

COMPUTED = {"Constant", "ConstantOfShape", "EyeLike", "Range", "Shape", "Size"}
"""Operators that are always computed at export."""

NO_KERNEL = "TFLite has no integer form of it"
"""Why most operators without an integer form run in float."""

ROUNDS_IN_A_RUN = "rounding between the functions of a run costs accuracy and saves no instructions"
"""Why int8 files that edgeconv quantizes have functions of one element in int8 only where the
values before and behind them are int8 anyway (benchmarks/results/integer_operators.md)."""


class Integer(Enum):
    """What an operator does where its data is quantized."""

    NONE = auto()
    """It has no integer form: it runs in float."""
    MOVES = auto()
    """It only moves or selects elements, so its result keeps the quantization of its input."""
    INDEX_RESULT = auto()
    """Its result is an index or a boolean and does not depend on the scale (ArgMax)."""
    COMPUTES = auto()
    """It computes new values, whose quantization the graph has to state."""


@dataclass(frozen=True)
class Rule:
    """How to lower an operator.

    Attributes:
        lower: Emits the operator's TFLite form.
        integer: What the operator does with quantized data.
        fuses: The TFLite form can apply a Relu or Clip itself.
        reason: Why the operator runs in float. If it has an integer form: why edgeconv's quantizer
            does not make its inputs and results int8, so that it runs in float unless the operators
            around it make them int8. Empty if the quantizer does.
    """

    lower: Lower
    integer: Integer
    fuses: bool
    reason: str


@dataclass(frozen=True)
class Decomposition:
    """How to write an operator as other ONNX operators.

    Attributes:
        compose: Writes the other operators, and returns their results.
        when: Selects the nodes that are written so.
    """

    compose: Decompose
    when: Callable[[Call], bool]


_rules: dict[str, Rule] = {}
_decompositions: dict[str, list[Decomposition]] = {}


def operator(
    *names: str,
    integer: Integer = Integer.NONE,
    fuses: bool = False,
    reason: str = "",
) -> Callable[[Lower], Lower]:
    """Register the decorated function for the ONNX operators ``names``.

    Args:
        names: ONNX operators.
        integer: What they do with quantized data.
        fuses: Their TFLite form can apply a Relu or Clip itself.
        reason: Why they have no integer form although TFLite has a kernel, or why the quantizer
            leaves them to the operators around them (:class:`Rule`).

    Raises:
        ValueError: an operator of that name is registered already.
    """

    def register(lower: Lower) -> Lower:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} is registered twice")
            default = NO_KERNEL if integer is Integer.NONE else ""
            _rules[name] = Rule(lower, integer, fuses, reason or default)
        return lower

    return register


def decomposition_of(
    *names: str, when: Callable[[Call], bool] = lambda call: True
) -> Callable[[Decompose], Decompose]:
    """Register the decorated function, which writes nodes as other operators before the lowering.

    Args:
        names: ONNX operators.
        when: Selects the nodes to write so; all of them by default.
    """

    def register(compose: Decompose) -> Decompose:
        for name in names:
            _decompositions.setdefault(name, []).append(Decomposition(compose, when))
        return compose

    return register


def decomposition(call: Call) -> Decompose | None:
    """Find out how a node is written as other nodes; None if it is lowered as it is."""
    if call.node.domain not in STANDARD:
        return None
    found = _decompositions.get(call.op_type, ())
    return next((item.compose for item in found if item.when(call)), None)


def decompositions() -> dict[str, Decompose]:
    """List the operators that are written as others, by name."""
    return {name: items[0].compose for name, items in sorted(_decompositions.items())}


def rule(name: str) -> Rule | None:
    """Look up how an ONNX operator is lowered; None if nothing is registered for it."""
    return _rules.get(name)


def is_known(node: ir.Node) -> bool:
    """Return whether the lowering knows the operator of ``node`` as it is."""
    standard = node.domain in STANDARD or node.op_type in SHARED
    return standard and (node.op_type in _rules or node.op_type in COMPUTED)


def names() -> tuple[str, ...]:
    """List every ONNX operator that can be lowered, in alphabetical order."""
    return tuple(sorted({*_rules, *_decompositions}))
