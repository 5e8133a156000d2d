"""Looks at an installation: what works, what does not, and what to do about it.

It stands on the standard library alone, because any package may be what is broken, and imports none
of those that it examines: each is tried in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeconv.doctor.finding import Finding, Section, State
from edgeconv.doctor.packages import packages
from edgeconv.doctor.system import boards, folders, system

__all__ = ["Finding", "Section", "State", "examine"]


def examine() -> Iterator[Finding]:
    """Look at everything, section by section; this takes several seconds.

    Yields:
        The findings, each as soon as it is known.
    """
    yield from system()
    yield from packages()
    yield from boards()
    yield from folders()
