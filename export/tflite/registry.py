"""Which function lowers which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

import onnx_ir as ir

if TYPE_CHECKING:
    from edgeconv.export.tflite.site import Site

Lower = Callable[["Site"], None]

SHARED = {"QuantizeLinear", "DequantizeLinear", "Gelu"}
"""Operators that ONNX Runtime's own domain has with the same meaning."""

COMPUTED = {"Constant", "ConstantOfShape", "EyeLike", "Range", "Shape", "Size"}
"""Operators that exist at export alone."""


class Integer(Enum):
    """What an operator does where its data is quantized."""

    NONE = auto()
    """It has no integer form: it runs in float."""
    MOVES = auto()
    """It only moves or selects elements: its result keeps the quantization of its input."""
    READS = auto()
    """Its result is no real number, and the same for codes as for what they mean."""
    COMPUTES = auto()
    """It computes new values, for which the graph has to state a quantization."""


class NoIntegerForm(Exception):  # noqa: N818  # an answer, not an error
    """Raised by a lowering in integer mode: run this node in float, for the reason given."""


@dataclass(frozen=True)
class Rule:
    """How to lower an operator. ``fuses``: its TFLite form can apply a Relu or Clip itself."""

    lower: Lower
    integer: Integer
    fuses: bool


_rules: dict[str, Rule] = {}


def operator(
    *names: str, integer: Integer = Integer.NONE, fuses: bool = False
) -> Callable[[Lower], Lower]:
    """Register the decorated function for the ONNX operators ``names``.

    Raises:
        ValueError: an operator of that name is registered already.
    """

    def register(lower: Lower) -> Lower:
        for name in names:
            if name in _rules:
                raise ValueError(f"{name} is registered twice")
            _rules[name] = Rule(lower, integer, fuses)
        return lower

    return register


def rule(name: str) -> Rule | None:
    return _rules.get(name)


def names() -> tuple[str, ...]:
    """Every ONNX operator that can be lowered."""
    return tuple(sorted(_rules))


def is_known(node: ir.Node) -> bool:
    """Whether the lowering knows the operator of ``node`` as it is."""
    standard = node.domain in ("", "ai.onnx") or node.op_type in SHARED
    return standard and (node.op_type in _rules or node.op_type in COMPUTED)
