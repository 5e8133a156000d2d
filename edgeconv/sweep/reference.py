"""The measurement that all boards of a pool make first: whether they agree."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeconv.bench.compare.boards import agreement
from edgeconv.bench.result import BenchResult
from edgeconv.device.boards import Board, Pool
from edgeconv.device.dispatch import Failure
from edgeconv.sweep.cache import Cache
from edgeconv.sweep.jobs import MeasureJob
from edgeconv.sweep.work import result_of
from edgeconv.units import format_change


@dataclass
class Reference:
    """One bundle on every board of a pool.

    Attributes:
        pool: The pool. It takes other measurements on the boards that agree.
        measured: The measurements that are done, by their boards.
        failed: Why the others are not, by their boards.
    """

    pool: Pool
    measured: dict[str, MeasureJob] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)

    @property
    def _awaited(self) -> list[Board]:
        ended = self.measured.keys() | self.failed.keys()
        return [board for board in self.pool.left(()) if board.name not in ended]

    @property
    def is_over(self) -> bool:
        """Whether no board will measure it any more."""
        return not self._awaited

    def admit(self, cache: Cache) -> MeasureJob | None:
        """Admit the boards that agree, and set aside the others, as far as that is known.

        A board that someone else uses is not waited for: it is compared when its turn comes.

        Returns:
            The measurement of the board in the middle; None until there is one to rely on.
        """
        awaited = self._awaited
        if not self.measured or any(not board.was_busy for board in awaited):
            return None
        pool = self.pool
        for name, failure in self.failed.items():
            pool.set_aside_for(
                name, f"another board of {pool.name} measured what failed there: {failure.message}"
            )
        found = agreement(
            {
                board.name: result_of(BenchResult, self.measured[board.name], cache)
                for board in pool.boards
                if board.name in self.measured
            }
        )
        for name, ratio in found.off.items():
            pool.set_aside_for(
                name,
                f"its latencies disagree with those of {found.middle} by "
                f"{format_change(ratio.value)} [{format_change(ratio.low)}, "
                f"{format_change(ratio.high)}]",
            )
        pool.admitted = set(self.measured) - set(found.off)
        return self.measured[found.middle]
