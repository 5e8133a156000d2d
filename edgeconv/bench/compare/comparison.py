"""What the comparisons of every kind of result have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from edgeconv.bench.sessions import NOT_KNOWN, Between
from edgeconv.errors import UsageError
from edgeconv.units import format_change


class Change(Protocol):
    """How large a change is, with its bounds: a ratio or a difference."""

    @property
    def value(self) -> float:
        """The best estimate."""

    @property
    def low(self) -> float:
        """The lower bound."""

    @property
    def high(self) -> float:
        """The upper bound."""


class Outcome(str, Enum):
    """What a gate says of a file."""

    PASS = "passed"
    FAIL = "failed"
    INCONCLUSIVE = "inconclusive"


UNDECIDED = "undecided, see the notes"
Setting = tuple[str, object, object]  # its name, before and after

F = TypeVar("F")  # what a result has of one file
D = TypeVar("D", bound=Change)


@dataclass(frozen=True)
class Limits:
    """What a gate allows.

    ``regression`` is the share by which a file may become larger, or take more instructions (0.03
    is 3 %), and the slow-down that must be found in 90 % of measurements; ``accuracy_loss`` the
    share of samples that it may lose (0.005 is half a percentage point of top-1).
    """

    regression: float
    accuracy_loss: float = 0.0


@dataclass(frozen=True)
class Terms:
    """Under which terms two results are compared.

    ``across`` has the settings that may differ because they are what is compared; ``between`` says
    how much the sessions of a device differ.
    """

    across: frozenset[str] = frozenset()
    between: Callable[[str], Between] = lambda device: NOT_KNOWN


STRICT = Terms()  # nothing may differ, and nothing is known of the devices


@dataclass(frozen=True)
class Comparison(ABC, Generic[F, D]):
    """One file in two results of a kind.

    ``UNIT`` follows the figures where they do not have one already. ``doubts`` are reasons why the
    two say nothing about the file, whatever the figures are.
    """

    UNIT: ClassVar[str] = ""

    name: str
    before: F
    after: F
    change: D
    doubts: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def verdict(self) -> Enum:
        """Whether the file became better or worse, or whether no difference is shown."""

    @abstractmethod
    def sentence(self) -> str:
        """The verdict in words, with the bounds of the change."""

    @abstractmethod
    def judge(self, limits: Limits) -> Outcome:
        """Hold the figure against the limits, doubts and the size of the file aside."""

    @abstractmethod
    def worse(self) -> str:
        """What became worse and by how much, for a file that failed."""

    def outcome(self, limits: Limits) -> Outcome:
        """Hold everything against the limits."""
        if self.regressions(limits):
            return Outcome.FAIL
        return Outcome.INCONCLUSIVE if self.doubts else self.judge(limits)

    def regressions(self, limits: Limits) -> tuple[str, ...]:
        """Why the file fails a gate; empty if it does not."""
        failed = not self.doubts and self.judge(limits) is Outcome.FAIL
        reasons = [self.worse()] if failed else []
        if self.size_change > 1 + limits.regression:
            reasons.append(f"larger by {format_change(self.size_change)}")
        return tuple(reasons)

    def judged_by(self) -> str:
        """The figure that decides, where there are several; else an empty string."""
        return ""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int]:
        """Bytes of the file before and after."""

    @property
    def size_change(self) -> float:
        """The new number of bytes divided by the old one."""
        before, after = self.sizes
        return after / before

    @abstractmethod
    def figures(self) -> tuple[str, str]:
        """The compared figure before and after, as people read it."""

    @abstractmethod
    def format_change(self) -> str:
        """The change and its bounds, as people read them."""

    @abstractmethod
    def plain(self) -> dict[str, object]:
        """The figures for JSON; shares and ratios are fractions."""


C = TypeVar("C", bound="Comparison[Any, Any]", covariant=True)


@dataclass(frozen=True)
class ComparisonReport(Generic[C]):
    """Two results of a kind side by side.

    ``comparisons`` are of the files in both; ``cautions`` say why the two should not be compared,
    ``of_before`` and ``of_after`` what a reader must know about one of them.
    """

    comparisons: tuple[C, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    cautions: tuple[str, ...]
    of_before: tuple[str, ...] = ()
    of_after: tuple[str, ...] = ()

    def remarks(self, before: str, after: str) -> tuple[str, ...]:
        """All that the reader must know.

        Args:
            before: What the first result is called, such as "the baseline".
            after: What the second one is called.
        """
        return (
            *self.cautions,
            *(f"in {before} {remark}" for remark in self.of_before),
            *(f"in {after} {remark}" for remark in self.of_after),
        )


def compare_files(
    before: Sequence[F],
    after: Sequence[F],
    compare: Callable[[str, F, F], C],
    *,
    name_of: Callable[[F], str],
    runtime_of: Callable[[F], str],
    settings: Iterable[Setting] = (),
    terms: Terms,
    cautions: Sequence[str] = (),
) -> ComparisonReport[C]:
    """Pair the files of two results by file name, or the one file of each, and compare them.

    Args:
        before: The files of the first result.
        after: The files of the second result.
        compare: Compares one file, given its name.
        name_of: A file's name, with its folder.
        runtime_of: The runtime that ran a file.
        settings: What else must be equal, unless the terms say that it is what is compared.
        terms: The terms of the comparison.
        cautions: What else the reader must know of the two.

    Returns:
        The comparisons in the order of ``after``.

    Raises:
        UsageError: No file is in both.
    """
    old, new = _named(before, after, name_of)
    both = _in_both(old, new)
    settings = list(settings)
    runtimes = {name: ("runtime", runtime_of(old[name]), runtime_of(new[name])) for name in both}
    every = [*settings, *sorted(set(runtimes.values()))]

    def compared(name: str) -> C:
        found = compare(name, old[name], new[name])
        doubts = _changed([*settings, runtimes[name]], terms.across)
        return replace(found, doubts=(*found.doubts, *doubts))

    return ComparisonReport(
        comparisons=tuple(compared(name) for name in both),
        only_before=tuple(name for name in old if name not in new),
        only_after=tuple(name for name in new if name not in old),
        cautions=(
            *cautions,
            *(_caution(setting, terms.across) for setting in every if _differ(setting)),
        ),
    )


def by_name(
    before: Sequence[F], after: Sequence[F], name_of: Callable[[F], str]
) -> dict[str, tuple[F, F]]:
    """Pair the files that two sides have in common by their names; see :func:`compare_files`.

    Raises:
        UsageError: No file is on both sides.
    """
    old, new = _named(before, after, name_of)
    return {name: (old[name], new[name]) for name in _in_both(old, new)}


def _named(
    before: Sequence[F], after: Sequence[F], name_of: Callable[[F], str]
) -> tuple[dict[str, F], dict[str, F]]:
    """The files of two sides by the names that pair them; a single file of each is a pair."""
    if len(before) == len(after) == 1:
        return {name_of(after[0]): before[0]}, {name_of(after[0]): after[0]}
    return _by_name(before, name_of), _by_name(after, name_of)


def _in_both(old: dict[str, F], new: dict[str, F]) -> list[str]:
    both = [name for name in new if name in old]
    if not both:
        raise UsageError(
            f"no file is in both results: one has {', '.join(old)}, the other {', '.join(new)}",
            hint="compare two results of the same files",
        )
    return both


def _by_name(files: Sequence[F], name_of: Callable[[F], str]) -> dict[str, F]:
    """By file name, where that is unique: the folders of two exports have different names."""
    short = [PurePath(name_of(file)).name for file in files]
    count = Counter(short)
    return {
        name if count[name] == 1 else name_of(file): file
        for name, file in zip(short, files, strict=True)
    }


def _differ(setting: Setting) -> bool:
    return setting[1] != setting[2]


def _changed(settings: Iterable[Setting], across: frozenset[str]) -> tuple[str, ...]:
    """The settings that differ although they are not what is compared."""
    return tuple(
        f"the {name} changed" for name, old, new in settings if old != new and name not in across
    )


def _caution(setting: Setting, across: frozenset[str]) -> str:
    name, old, new = setting
    said = f"the {name} changed from {old} to {new}"
    return said if name in across else f"{said}, so nothing is decided; see --across {name}"
