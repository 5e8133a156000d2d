"""What the rewrites have in common: constants of one number, and rules that run as a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.rewriter import pattern

from edgeconv.export.passes.steps import broken

Build = Callable[..., Any]
"""A function of an ``op`` and operands that writes out operators, as a pattern or for real."""

# A constant of the formula, rounded to float32, perhaps once more by whoever computed it.
_TOLERANCE = 2.0**-22
# A constant this close to the expected one was meant to be it.
_NEAR = 0.05


class NearMiss(str):
    """A reason against a match that the user should read, because so little is missing."""

    __slots__ = ()


MATCH = pattern.MatchResult()
"""The answer of a check that finds everything as it should be."""


def no_match(reason: str) -> pattern.MatchResult:
    """The answer of a check that does not fit; ``reason`` completes "because …"."""
    return pattern.MatchResult().fail(reason)


def number(value: ir.Value | None) -> float | None:
    """The only element of a constant; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None or tensor.size != 1 or len(tensor.shape) > 1:
        return None
    return float(tensor.numpy().reshape(-1)[0])


def check_numbers(
    values: Mapping[str, ir.Value], expected: Mapping[str, float]
) -> pattern.MatchResult:
    """Match if each of ``values`` is the constant of its name in ``expected``.

    A single number that is close to the expected one, but is not it, is a near miss.
    """
    return compare({name: number(values[name]) for name in expected}, expected)


def compare(
    found: Mapping[str, float | None], expected: Mapping[str, float]
) -> pattern.MatchResult:
    """Match if each number found is the expected one; see :func:`check_numbers`."""
    near = ""
    for name, wanted in expected.items():
        known = found[name]
        if known is None:
            return no_match(f"one of its operands is not the constant {wanted:.6g}")
        if math.isclose(known, wanted, rel_tol=_TOLERANCE):
            continue
        reason = f"its constant is {known:.6g} and not {wanted:.6g}"
        if near or not math.isclose(known, wanted, rel_tol=_NEAR):
            return no_match(reason)
        near = reason
    return no_match(NearMiss(near)) if near else MATCH


class Rewrites(ir.passes.InPlacePass):
    """Applies rules until none matches.

    Attributes:
        rules: the rules, of a subclass.
        subject: what the rules look for, in the words of a note to the user.
        near_misses: of the last graph, a sentence for each place that nearly matched.
    """

    rules: tuple[pattern.RewriteRule, ...] = ()
    subject = ""

    def __init__(self) -> None:
        super().__init__()
        self.near_misses: tuple[str, ...] = ()

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Apply the rules."""
        modified = False
        while pattern.RewriteRuleSet(self.rules).apply_to_model(model):
            modified = True
        if any(
            value.dtype is None for node in model.graph for value in node.outputs if value.uses()
        ):
            # Rules make values without a type, and what has none counts as no float.
            common.ShapeInferencePass()(model)
        return ir.passes.PassResult(model, modified)

    def ensures(self, model: ir.Model) -> None:
        """Ensure that no rule matches any more, and note what nearly does."""
        found = self.search(model)
        if found.matches:
            raise broken(self, f"it left {found.matches[0].name}")
        self.near_misses = tuple(
            f"the {self.subject} at {node.name or node.outputs[0].name} stays written out, "
            f"because {reason}"
            for node, reason in found.near_misses.items()
        )

    def search(self, model: ir.Model) -> Search:
        """Look for matches, without a change to ``model``."""
        search = Search()
        for node in model.graph:
            for rule in self.rules:
                rule.match(model, model.graph, node, tracer=search)
        return search


class Search(pattern.MatchingTracer):
    """Where rules match, and where they nearly do: the last node of each place."""

    def __init__(self) -> None:
        super().__init__()
        self.matches: list[ir.Node] = []
        self.near_misses: dict[ir.Node, str] = {}

    def log(
        self,
        rule: pattern.RewriteRule,
        container: ir.Graph | ir.Function,
        node: ir.Node,
        match_result: pattern.MatchResult,
        status: pattern.MatchStatus,
    ) -> None:
        """Take note of the result of one rule at one node."""
        if status is pattern.MatchStatus.SUCCESS:
            self.matches.append(node)
        elif isinstance(match_result.reason, NearMiss):
            self.near_misses[node] = match_result.reason
