"""Divide things between two sides at the least cost (Edmonds and Karp 1972)."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable


class MinimumCut:
    """A directed graph whose nodes are divided between a source and a target."""

    SOURCE, TARGET = "source", "target"
    UNLIMITED = 1 << 60

    def __init__(self) -> None:
        self._left: defaultdict[Hashable, dict[Hashable, int]] = defaultdict(dict)

    def add(self, start: Hashable, end: Hashable, cost: int) -> None:
        """Let it cost so much to have ``start`` on the side of the source and ``end`` not."""
        self._left[start][end] = self._left[start].get(end, 0) + cost
        self._left[end].setdefault(start, 0)

    def target_side(self) -> set[Hashable]:
        """The nodes on the side of the target; it is the smallest one of those that cost least."""
        while path := self._path():
            flow = min(self._left[start][end] for start, end in path)
            for start, end in path:
                self._left[start][end] -= flow
                self._left[end][start] += flow
        side: set[Hashable] = {self.TARGET}
        pending: list[Hashable] = [self.TARGET]
        while pending:
            end = pending.pop()
            # Each edge is known from both ends.
            near = [start for start in self._left[end] if self._left[start][end] > 0]
            pending += [start for start in near if start not in side]
            side.update(near)
        return side

    def _path(self) -> list[tuple[Hashable, Hashable]]:
        """The edges of a shortest way from source to target with something left; else none."""
        before: dict[Hashable, Hashable] = {self.SOURCE: self.SOURCE}
        pending = deque[Hashable]([self.SOURCE])
        while pending and self.TARGET not in before:
            start = pending.popleft()
            for end, left in self._left[start].items():
                if left > 0 and end not in before:
                    before[end] = start
                    pending.append(end)
        if self.TARGET not in before:
            return []
        path: list[tuple[Hashable, Hashable]] = []
        reached: Hashable = self.TARGET
        while reached != self.SOURCE:
            path.append((before[reached], reached))
            reached = before[reached]
        return path
