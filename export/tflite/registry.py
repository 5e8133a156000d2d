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
"""Operators that exist at export alone."""


NO_KERNEL = "TFLite has no integer form of it"
"""Why most operators without an integer form run in float."""


class Integer(Enum):
    """What an operator does where its data is quantized."""

    NONE = auto()
    """It has no integer form: it runs in float."""
    MOVES = auto()
    """It only moves or selects elements: its result keeps the quantization of its input."""
    INDEX_RESULT = auto()
    """Its result is no real number, and the same for codes as for what they mean."""
    COMPUTES = auto()
    """It computes new values, for which the graph has to state a quantization."""


@dataclass(frozen=True)
class Rule:
    """How to lower an operator.

    ``fuses``: its TFLite form can apply a Relu or Clip itself. ``reason``: why it has no integer
    form, where it has none.
    """

    lower: Lower
    integer: Integer
    fuses: bool
    reason: str


@dataclass(frozen=True)
class Decomposition:
    """How to write an operator as other ONNX operators, and for which nodes."""

    compose: Decompose
    when: Callable[[Call], bool]


_rules: dict[str, Rule] = {}
_decompositions: dict[str, list[Decomposition]] = {}


def operator(
    *names: str,
    integer: Integer = Integer.NONE,
    fuses: bool = False,
    reason: str = NO_KERNEL,
) -> Callable[[Lower], Lower]:
    """Register the decorated function for the ONNX operators ``names``.

    Args:
        reason: why an operator without an integer form has none, if TFLite has a kernel.

    Raises:
        ValueError: an operator of that name is registered already.
    """

    def register(lower: Lower) -> Lower:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} is registered twice")
            _rules[name] = Rule(lower, integer, fuses, reason)
        return lower

    return register


def decomposition_of(
    *names: str, when: Callable[[Call], bool] = lambda call: True
) -> Callable[[Decompose], Decompose]:
    """Register the decorated function for nodes of the ONNX operators ``names``, or those of them
    for which ``when`` holds: it writes them as nodes of other operators before the lowering.
    """

    def register(compose: Decompose) -> Decompose:
        for name in names:
            _decompositions.setdefault(name, []).append(Decomposition(compose, when))
        return compose

    return register


def decomposition(call: Call) -> Decompose | None:
    """How a node is written as other nodes; None where it is not."""
    if call.node.domain not in STANDARD:
        return None
    found = _decompositions.get(call.op_type, ())
    return next((item.compose for item in found if item.when(call)), None)


def decompositions() -> dict[str, Decompose]:
    """The operators that are written as others, by name."""
    return {name: items[0].compose for name, items in sorted(_decompositions.items())}


def rule(name: str) -> Rule | None:
    return _rules.get(name)


def is_known(node: ir.Node) -> bool:
    """Whether the lowering knows the operator of ``node`` as it is."""
    standard = node.domain in STANDARD or node.op_type in SHARED
    return standard and (node.op_type in _rules or node.op_type in COMPUTED)


def names() -> tuple[str, ...]:
    """Every ONNX operator that can be lowered."""
    return tuple(sorted({*_rules, *_decompositions}))
