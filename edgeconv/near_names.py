"""Offers the names that resemble one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_OFFERED = 3
_SHORTEST_BEGIN = 3


def near_names(name: str, known: Iterable[str], *, offered: int = _OFFERED) -> list[str]:
    """The known names that resemble ``name``, the nearest first; case does not count.

    Where none does, those that begin with it: ``range`` may mean ``range_method``.
    """
    by_folded, folded = {each.casefold(): each for each in known}, name.casefold()
    near = difflib.get_close_matches(folded, by_folded, n=offered)
    if not near and len(name) >= _SHORTEST_BEGIN:
        near = [each for each in by_folded if each.startswith(folded)][:offered]
    return [by_folded[each] for each in near]


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The hint ``did you mean 'a' or 'b'?``; ``otherwise`` where no known name is near.

    Args:
        name: The name that is not there.
        known: Those that are there.
        otherwise: What else to say.
    """
    near = near_names(name, known)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else otherwise
