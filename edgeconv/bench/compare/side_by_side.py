"""Two versions of files measured in turns, in one session, so that its error cancels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeconv.bench.compare.comparison import ComparisonReport, by_name
from edgeconv.bench.compare.latency import LatencyComparison, compare_within
from edgeconv.bench.result import BenchResult, labeled
from edgeconv.bundle import sha256_of
from edgeconv.errors import UsageError


@dataclass(frozen=True)
class Sides:
    """The baseline's files and the candidate's: pairs by name, and what only one of them has."""

    pairs: Mapping[str, tuple[Path, Path]]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @classmethod
    def of(cls, old: Sequence[Path], new: Sequence[Path]) -> Sides:
        """Pair files by their names, or the only one of each side.

        Raises:
            UsageError: No file is on both sides, or one is its own partner.
        """
        pairs = by_name(old, new, str)
        for before, after in pairs.values():
            if before.exists() and after.exists() and before.samefile(after):
                raise UsageError(f"{before} is on both sides", hint="name two files or two bundles")
        return cls(
            pairs,
            tuple(str(path) for path in old if path not in {side[0] for side in pairs.values()}),
            tuple(str(path) for path in new if path not in {side[1] for side in pairs.values()}),
        )

    @property
    def files(self) -> list[Path]:
        """The order to measure them in: both versions of a file beside each other."""
        return [path for pair in self.pairs.values() for path in pair]


def files_of(result: BenchResult) -> list[Path]:
    """The files that were measured, which must still be what they were.

    Raises:
        UsageError: One is gone, or another one now.
    """
    for model in result.models:
        path = Path(model.file.name)
        if not path.is_file() or sha256_of(path) != model.file.sha256:
            raise UsageError(
                f"{path} is not at hand as it was measured",
                hint="leave --measure out, or name two bundles",
            )
    return list(dict.fromkeys(Path(model.file.name) for model in result.models))


def compare_side_by_side(sides: Sides, result: BenchResult) -> ComparisonReport[LatencyComparison]:
    """Compare the two versions of every file, paired; what could not be measured is missing."""
    places = {model.label: place for place, model in enumerate(result.models)}
    rows = {
        labeled(name, threads): (labeled(str(old), threads), labeled(str(new), threads))
        for name, (old, new) in sides.pairs.items()
        for threads in result.options.sweep
    }
    pairs = {
        name: (places[old], places[new])
        for name, (old, new) in rows.items()
        if old in places and new in places
    }
    left_out = tuple(name for name in rows if name not in pairs)
    report = compare_within(result, pairs)
    missing = (*sides.only_before, *left_out)
    return replace(report, only_before=missing, only_after=sides.only_after)
