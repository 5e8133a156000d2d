"""The gate of a CI on counted instructions, which repeat to 0.1 % on any machine."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.bench.compare import pair
from edgeconv.bench.instructions import CountedModel, CountResult


@dataclass(frozen=True)
class CountRow:
    """One file at the gate; ``reasons`` is empty where it passes."""

    name: str
    before: CountedModel
    after: CountedModel
    reasons: tuple[str, ...]

    @property
    def change(self) -> float:
        """Instructions after, divided by those before."""
        return self.after.counts.total / max(1, self.before.counts.total)

    @property
    def size_change(self) -> float:
        return self.after.file.bytes / self.before.file.bytes


@dataclass(frozen=True)
class CountGate:
    rows: tuple[CountRow, ...]
    missing: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """A file that is gone from the new result fails: nobody counted it."""
        return not self.missing and all(not row.reasons for row in self.rows)


def gate_counts(before: CountResult, after: CountResult, max_regression: float) -> CountGate:
    """Fail what executes more instructions, or is larger, by more than ``max_regression``.

    Raises:
        MeasurementError: no file is in both.
    """
    pairs, missing, _ = pair(before.models, after.models)
    rows = tuple(_row(name, old, new, max_regression) for name, (old, new) in pairs.items())
    return CountGate(rows, missing, _cautions(before, after, rows))


def _row(name: str, old: CountedModel, new: CountedModel, max_regression: float) -> CountRow:
    row = CountRow(name, old, new, ())
    limit, reasons = 1 + max_regression, []
    if row.change > limit:
        reasons.append(f"{100 * (row.change - 1):+.1f}% instructions")
    if row.size_change > limit:
        reasons.append(f"larger by {100 * (row.size_change - 1):+.1f}%")
    return CountRow(name, old, new, tuple(reasons))


def _cautions(
    before: CountResult, after: CountResult, rows: tuple[CountRow, ...]
) -> tuple[str, ...]:
    found = []
    if before.cpu != after.cpu:
        found.append(f"the CPU changed from {before.cpu} to {after.cpu}")
    runtimes = {
        tuple(f"{m.runtime.value} {m.runtime_version}" for m in (row.before, row.after))
        for row in rows
    }
    found += [f"the runtime changed from {a} to {b}" for a, b in sorted(runtimes) if a != b]
    return tuple(found)
