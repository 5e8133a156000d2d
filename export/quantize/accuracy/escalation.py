"""Escalate until an int8 network meets a budget; each step costs more than the one before.

The steps are min-max ranges, other range methods, equalization, bias correction, reconstruction of
layers, adaptive rounding, float for the operators that a target of SQNR takes, and float for the
places that lose most. The first attempt that meets the budget is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgeconv.export.quantize.calibration.ranges import CLIPPING
from edgeconv.export.quantize_options import QuantizeOptions, RangeMethod, Rounding

# How much more than the attempt before is kept where operators leave int8 for the sake of accuracy.
_MORE_DB = (3.0, 3.0, 6.0)
# How many of the worst neighborhoods (sensitivity.py) stay in float, in turn.
_FLOAT_NEIGHBORHOODS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Assessment:
    """Figures of one quantized network.

    Attributes:
        sqnr_db: The SQNR against the float network.
        accuracy_drop: How much of the accuracy is lost, as a share; None without labels.
        bytes: The size of the file.
        latency_ns: The time of one inference; None where it was not measured.
        keeps_nothing: Whether it says nothing about an output of the network, which no budget
            allows.
        repaired: Whether repair left operators in float.
    """

    sqnr_db: float
    accuracy_drop: float | None
    bytes: int
    latency_ns: float | None
    keeps_nothing: bool = False
    repaired: bool = False


@dataclass(frozen=True)
class Budget:
    """What a quantized network has to reach.

    Attributes:
        min_sqnr_db: The least SQNR; None for any.
        max_accuracy_drop: The largest loss of accuracy; None for any.
        max_bytes: The largest size of a file; None for any.
        max_latency_ns: The longest time of one inference; None for any.
    """

    min_sqnr_db: float | None = None
    max_accuracy_drop: float | None = None
    max_bytes: int | None = None
    max_latency_ns: float | None = None

    @property
    def asks_for_accuracy(self) -> bool:
        """Whether more effort for accuracy may help."""
        return self.min_sqnr_db is not None or self.max_accuracy_drop is not None

    @property
    def limits_cost(self) -> bool:
        """Whether a network may cost too much."""
        return self.max_bytes is not None or self.max_latency_ns is not None

    def met_by(self, figures: Assessment) -> bool:
        """Whether a network with these figures meets the budget; an unknown figure does not."""
        if figures.keeps_nothing:
            return False
        if self.min_sqnr_db is not None and figures.sqnr_db < self.min_sqnr_db:
            return False
        limits = (
            (figures.accuracy_drop, self.max_accuracy_drop),
            (figures.bytes, self.max_bytes),
            (figures.latency_ns, self.max_latency_ns),
        )
        return all(
            limit is None or (figure is not None and figure <= limit) for figure, limit in limits
        )


@dataclass(frozen=True)
class Attempt:
    """One step of the escalation.

    Attributes:
        name: What distinguishes it from the steps before.
        options: What the quantizer was asked to do.
        figures: The result.
        met: Whether it meets the budget.
    """

    name: str
    options: QuantizeOptions
    figures: Assessment
    met: bool

    @classmethod
    def of(
        cls, name: str, options: QuantizeOptions, budget: Budget, figures: Assessment
    ) -> Attempt:
        """Hold figures against a budget."""
        return cls(name, options, figures, budget.met_by(figures))


# Quantizes with the options and measures the result.
Assess = Callable[[QuantizeOptions], Assessment]


def escalate(base: QuantizeOptions, budget: Budget, assess: Assess) -> list[Attempt]:
    """Try one step after the other until the budget is met.

    Without a demand on accuracy there is nothing to try harder for: what is asked for is exported
    as it is, and then without what repair left in float, if it left anything.

    Later steps use the best range method so far, and the passes that gained something.

    Args:
        base: How to quantize, apart from what the steps decide.
        budget: What to reach.
        assess: Quantizes with the options, and measures the result.

    Returns:
        All attempts in order. The last one meets the budget, or none does.
    """
    attempts: list[Attempt] = []

    def meets(name: str, options: QuantizeOptions) -> bool:
        attempts.append(Attempt.of(name, options, budget, assess(options)))
        return attempts[-1].met

    if not budget.asks_for_accuracy:
        if not meets("as asked", base) and attempts[0].figures.repaired:
            meets("without repair", replace(base, repair=False))
        return attempts
    plain = replace(
        base,
        range_method=RangeMethod.MINMAX,
        equalization=False,
        bias_absorption=False,
        bias_correction=False,
        reconstruction=False,
        rounding=Rounding.NEAREST,
        float_places=0,
        repair=False,
    )
    if meets("min-max", plain):
        return attempts
    for method in CLIPPING:
        if meets(f"{method.value} ranges", replace(plain, range_method=method)):
            return attempts
    for name, change in _PASSES:
        if meets(f"+ {name}", change(_best(attempts).options)):
            return attempts
    best = _best(attempts).options
    kept_db = _best(attempts).figures.sqnr_db
    for more_db in _more_db(budget):
        target_db = max(kept_db, budget.min_sqnr_db or 0.0) + more_db
        if target_db <= kept_db:
            continue  # it keeps what is asked for, but not the accuracy
        exactly = "" if target_db == budget.min_sqnr_db else f", to reach {target_db:.1f} dB"
        region = replace(best, repair=True, repair_to=target_db)
        if meets(f"+ the operators that lose most in float{exactly}", region):
            return attempts
        if not attempts[-1].figures.repaired:
            break  # the target is out of reach, and so are higher ones
        kept_db = attempts[-1].figures.sqnr_db
    for count in _FLOAT_NEIGHBORHOODS:
        words = "the worst neighborhood" if count == 1 else f"the {count} worst neighborhoods"
        if meets(f"+ {words} in float", replace(best, float_places=count)):
            break
        before, after = (attempt.figures for attempt in attempts[-2:])
        if (after.sqnr_db, after.bytes) == (before.sqnr_db, before.bytes):
            break  # no more neighborhoods are left
    return attempts


def most_attempts(base: QuantizeOptions, budget: Budget) -> int:
    """How many attempts :func:`escalate` makes if none meets the budget before the last."""
    if not budget.asks_for_accuracy:
        return 2 if base.decided().repair else 1
    steps = len(_more_db(budget)) + len(_FLOAT_NEIGHBORHOODS)
    return 1 + len(CLIPPING) + len(_PASSES) + steps


def _more_db(budget: Budget) -> tuple[float, ...]:
    """How much more than the attempt before, or than what is asked for, each target of SQNR is."""
    asked = () if budget.min_sqnr_db is None else (0.0,)
    return asked if budget.max_accuracy_drop is None else (*asked, *_MORE_DB)


def _best(attempts: list[Attempt]) -> Attempt:
    """The attempt with the best accuracy where it is known, and then the best SQNR."""

    def worth(attempt: Attempt) -> tuple[bool, float, float]:
        found = attempt.figures
        return not found.keeps_nothing, -(found.accuracy_drop or 0.0), found.sqnr_db

    return max(attempts, key=worth)


_PASSES: list[tuple[str, Callable[[QuantizeOptions], QuantizeOptions]]] = [
    ("equalization", lambda o: replace(o, equalization=True, bias_absorption=True)),
    ("bias correction", lambda o: replace(o, bias_correction=True)),
    ("layer reconstruction", lambda o: replace(o, reconstruction=True)),
    ("adaptive rounding", lambda o: replace(o, rounding=Rounding.ADAPTIVE)),
]
