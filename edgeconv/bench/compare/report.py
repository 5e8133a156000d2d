"""What every comparison of two results has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, TypeVar

from edgeconv.errors import UsageError

C = TypeVar("C")


M = TypeVar("M")


@dataclass(frozen=True)
class ComparisonReport(Generic[C]):
    """All files in common, those in one result alone, why not to compare the two, and what is to
    be said of each alone.
    """

    comparisons: tuple[C, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    cautions: tuple[str, ...]
    of_before: tuple[str, ...] = ()
    of_after: tuple[str, ...] = ()

    def remarks(self, before: str, after: str) -> tuple[str, ...]:
        """All that the reader must know, with the two results called so."""
        return (
            *self.cautions,
            *(f"in {before} {remark}" for remark in self.of_before),
            *(f"in {after} {remark}" for remark in self.of_after),
        )


def pair(
    before: Sequence[M], after: Sequence[M], name_of: Callable[[M], str]
) -> tuple[dict[str, tuple[M, M]], tuple[str, ...], tuple[str, ...]]:
    """The files in both results by file name (or the one of each), in the order of ``after``, and
    the names in one result alone.

    Raises:
        UsageError: no file is in both.
    """
    if len(before) == len(after) == 1:
        name = name_of(after[0])
        return {name: (before[0], after[0])}, (), ()
    old, new = _by_name(before, name_of), _by_name(after, name_of)
    pairs = {name: (old[name], new[name]) for name in new if name in old}
    if not pairs:
        raise UsageError(
            f"no file is in both results: one has {', '.join(old)}, the other {', '.join(new)}"
        )
    return pairs, tuple(n for n in old if n not in new), tuple(n for n in new if n not in old)


def _by_name(files: Sequence[M], name_of: Callable[[M], str]) -> dict[str, M]:
    """By file name, where that is unique: the folders of two exports have different names."""
    short = [PurePath(name_of(file)).name for file in files]
    count = Counter(short)
    return {
        name if count[name] == 1 else name_of(file): file
        for name, file in zip(short, files, strict=True)
    }
