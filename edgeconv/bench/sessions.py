"""How much sessions of one device differ: the level above processes.

A session has conditions of its own (temperature, the placement of its pages, a neighbor on the
host) that hit all of its processes. Two results of one file therefore differ by more than their
processes say. How much more, only several sessions of the same file on the same device can show;
where the history has none, a stated prior stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeconv.bench.statistics import Variance

PRIOR = 0.01  # standard deviation of a session's figures, relative: a Linux machine's, measured
PRIOR_DEGREES = 4.0  # it counts as much as five sessions of one file


@dataclass(frozen=True)
class SessionFigure:
    """What one session says of one file: the log of its latency, and its own variance."""

    session: int
    log: float
    variance: float


@dataclass(frozen=True)
class Between:
    """The variance of the log of a session's figures, and how many sessions it is from."""

    variance: Variance
    sessions: int

    def sentence(self) -> str:
        """What was added to an interval, and where from."""
        percent = f"{100 * self.variance.value**0.5:.1f}%"
        if not self.sessions:
            source = "an assumption: the history has no file that was measured twice there"
        else:
            source = f"from {self.sessions} sessions in the history and the assumption of 1%"
        return (
            f"the two are different sessions, which differ by {percent} on this device ({source})"
        )


NOT_KNOWN = Between(Variance(PRIOR**2, PRIOR_DEGREES), 0)


def between_sessions(files: Sequence[Sequence[SessionFigure]]) -> Between:
    """Estimate the variance between the sessions of a device.

    Args:
        files: For every file, what each session said of it.

    Returns:
        The mean of the prior and of what was seen, weighted by their degrees of freedom.
    """
    repeated = [figures for figures in files if len(figures) > 1]
    weight = sum(len(figures) - 1 for figures in repeated)
    if not weight:
        return NOT_KNOWN
    total = sum(float(np.var([f.log for f in file])) * len(file) for file in repeated) / weight
    own = sum(float(np.mean([f.variance for f in file])) * (len(file) - 1) for file in repeated)
    seen = max(0.0, total - own / weight)
    groups = _connected([{figure.session for figure in figures} for figures in repeated])
    # Files of one session share its error, so they are one observation of it. And a difference of
    # two variances is known less well than either (Satterthwaite).
    degrees = sum(len(group) - 1 for group in groups)
    degrees_of_seen = degrees * (seen / total) ** 2 if total else float(degrees)
    known = PRIOR_DEGREES + degrees_of_seen
    variance = (PRIOR_DEGREES * PRIOR**2 + degrees_of_seen * seen) / known
    return Between(Variance(variance, known), sum(map(len, groups)))


def _connected(sets: Sequence[set[int]]) -> list[set[int]]:
    """Merge the sets that have a member in common."""
    merged: list[set[int]] = []
    for one in sets:
        touching = [other for other in merged if other & one]
        merged = [other for other in merged if not other & one]
        merged.append(one.union(*touching))
    return merged
