"""What runs in float in a quantized network, folded to lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_NAMED = 6  # nodes that a line names


def by_reason(float_fallback: Iterable[str]) -> list[tuple[str, str]]:
    """The nodes that stay in float for each reason, in the order of the first of each.

    Args:
        float_fallback: What stays in float, as ``name (operator): reason``.

    Returns:
        For each reason the first nodes and how many more there are, and the reason.
    """
    nodes: dict[str, list[str]] = {}
    for entry in float_fallback:
        node, _, reason = entry.partition(": ")
        nodes.setdefault(reason, []).append(node)
    return [(few(names), reason) for reason, names in nodes.items()]


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
