"""Two speeds of one machine: processes that ran at one of them are compared with their like.

A clock that nothing reports, or a hypervisor, makes processes fast or slow by a tenth and more. The
mean of such a mixture says how many processes met which state, not what the file costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logs = npt.NDArray[np.float64]

LEAST_GAP = 0.05  # on the log scale; what is nearer is averaged well enough
CLEAR = 4.0  # times as wide as the widest gap within a state
LEAST_MEMBERS = 2
ALIKE = 0.3  # two files meet the same states if their gaps differ by no more than this share


@dataclass(frozen=True)
class States:
    """Two groups of processes: which ones are slow, and how far the groups are apart (logs)."""

    slow: npt.NDArray[np.bool_]
    gap: float


def states_of(logs: Logs) -> States | None:
    """The two states that processes were in; None if there is one, or no clear picture.

    The groups are split at the widest gap. For it to be more than chance, it must be wide, and
    several times as wide as any other.
    """
    if len(logs) < 2 * LEAST_MEMBERS:
        return None
    ordered = np.sort(logs)
    gaps = np.diff(ordered)
    place = int(np.argmax(gaps))
    others = np.delete(gaps, place)
    below = place + 1
    if not LEAST_MEMBERS <= below <= len(logs) - LEAST_MEMBERS:
        return None
    if gaps[place] < max(LEAST_GAP, CLEAR * others.max(initial=0.0)):
        return None
    slow = logs > ordered[place]
    return States(slow, float(logs[slow].mean() - logs[~slow].mean()))


def matching_states(new: Logs, old: Logs) -> tuple[States, States] | None:
    """The states of two files, if both were in two and those are as far apart."""
    states = states_of(new), states_of(old)
    if states[0] is None or states[1] is None:
        return None
    gaps = [state.gap for state in states if state]
    if abs(gaps[0] - gaps[1]) > ALIKE * min(gaps):
        return None
    return states[0], states[1]
