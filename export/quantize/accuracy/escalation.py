"""Escalate until an int8 network meets a budget: each step costs more than the one before.

Min-max ranges, better ranges, equalization, bias correction, adaptive rounding, and at last the
worst places of the network in float. The first attempt that meets the budget is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod, Rounding

# How many of the worst places stay in float, in turn.
_FLOAT_PLACES = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Assessment:
    """Figures of one quantized network.

    Attributes:
        sqnr_db: against the float network.
        accuracy_drop: how much of the top-1 accuracy is lost, as a share of all samples; None
            without labels.
        bytes: of the file.
        latency_ns: of one inference.
    """

    sqnr_db: float
    accuracy_drop: float | None
    bytes: int
    latency_ns: float


@dataclass(frozen=True)
class Budget:
    """What a network has to meet; None asks for nothing."""

    min_sqnr_db: float | None = None
    max_accuracy_drop: float | None = None

    def met_by(self, figures: Assessment) -> bool:
        if self.min_sqnr_db is not None and figures.sqnr_db < self.min_sqnr_db:
            return False
        if self.max_accuracy_drop is None:
            return True
        return figures.accuracy_drop is not None and figures.accuracy_drop <= self.max_accuracy_drop


@dataclass(frozen=True)
class Attempt:
    """One step of the ladder: its name, what was asked of the quantizer and what came of it."""

    name: str
    options: QuantizeOptions
    figures: Assessment
    met: bool


# Quantizes with the options and looks at the result.
Assess = Callable[[QuantizeOptions], Assessment]


def repair(base: QuantizeOptions, budget: Budget, assess: Assess) -> list[Attempt]:
    """The attempts in order; the last one meets the budget, or none does.

    A range method stays for the later steps if it was the best, a pass if it gained something.
    """
    attempts: list[Attempt] = []

    def meets(name: str, options: QuantizeOptions) -> bool:
        figures = assess(options)
        attempts.append(Attempt(name, options, figures, budget.met_by(figures)))
        return attempts[-1].met

    plain = replace(
        base,
        range_method=RangeMethod.MINMAX,
        equalization=False,
        bias_absorption=False,
        bias_correction=False,
        rounding=Rounding.NEAREST,
        float_places=0,
    )
    if meets("min-max", plain):
        return attempts
    for method in (RangeMethod.PERCENTILE, RangeMethod.MSE, RangeMethod.ENTROPY):
        if meets(f"{method.value} ranges", replace(plain, range_method=method)):
            return attempts
    for name, change in _PASSES:
        if meets(f"+ {name}", change(_best(attempts))):
            return attempts
    best = _best(attempts)
    for places in _FLOAT_PLACES:
        words = "the worst place" if places == 1 else f"the {places} worst places"
        if meets(f"+ {words} in float", replace(best, float_places=places)):
            break
        before, after = (attempt.figures for attempt in attempts[-2:])
        if (after.sqnr_db, after.bytes) == (before.sqnr_db, before.bytes):
            break  # there are no more places
    return attempts


def _best(attempts: list[Attempt]) -> QuantizeOptions:
    """By accuracy where it is known, and SQNR."""
    return max(
        attempts, key=lambda a: (-(a.figures.accuracy_drop or 0.0), a.figures.sqnr_db)
    ).options


_PASSES: list[tuple[str, Callable[[QuantizeOptions], QuantizeOptions]]] = [
    ("equalization", lambda o: replace(o, equalization=True, bias_absorption=True)),
    ("bias correction", lambda o: replace(o, bias_correction=True)),
    ("adaptive rounding", lambda o: replace(o, rounding=Rounding.ADAPTIVE)),
]
