"""Whether a network and its data seem to number the classes differently."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeconv.errors import Notice

# A class of fewer samples is left out: with few, some other order fits by chance.
_LEAST_OF_CLASS = 10
# Another order has to be right in so much of the samples, and in so many times as many.
_LEAST_RIGHT, _TIMES = 0.6, 2
# And by so many standard errors: of two classes of ten samples, guesses are right in a third or
# less of the samples once in 15 times, and the order is the best one of many.
_BEYOND_CHANCE = 4
# A network that was never trained gives most of each class to one output, too, but several classes
# to the same one. So an order may cost at most so much of what the outputs could get without it.
_MOST_CROWDED = 0.15


@dataclass(frozen=True)
class OtherOrder:
    """An order of the classes that fits far better.

    Attributes:
        right: The share that is right as the classes are numbered, as a mean over classes.
        otherwise: The share that would be right in the other order.
        true: A class of the data.
        predicted: The class that the network mostly gives it.
    """

    right: float
    otherwise: float
    true: int
    predicted: int


def other_order(
    true: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    counts: npt.NDArray[np.integer],
) -> OtherOrder | None:
    """Find an order of the classes in which far more is right, if there is one.

    Args:
        true: True classes [K].
        predicted: Predicted classes [K].
        counts: In how many samples, boxes or images each pair occurred [K]: what is independent of
            each other, as pixels of one image are not.
    """
    of_class = {int(each): int(counts[true == each].sum()) for each in np.unique(true)}
    shares = sorted(
        (
            (float(count / of_class[t]), t, p)
            for t, p, count in zip(true.tolist(), predicted.tolist(), counts.tolist(), strict=True)
            if count and of_class[t] >= _LEAST_OF_CLASS
        ),
        key=lambda each: (each[0], each[1] == each[2]),  # of equal ones the right class
        reverse=True,
    )
    seen = {t for _, t, _ in shares}
    matched: dict[int, tuple[int, float]] = {}
    taken: set[int] = set()
    most: dict[int, float] = {}
    for share, t, p in shares:
        most.setdefault(t, share)
        if t not in matched and p not in taken:
            matched[t] = p, share
            taken.add(p)
    if len(matched) < 2:
        return None
    right = sum(share for share, t, p in shares if t == p) / len(seen)
    otherwise = sum(share for _, share in matched.values()) / len(seen)
    if otherwise < max(_LEAST_RIGHT, _TIMES * right):
        return None
    if sum(most.values()) / len(seen) - otherwise > _MOST_CROWDED:
        return None
    share_of = {(t, p): share for share, t, p in shares}
    variance = sum(
        (share + share_of.get((t, t), 0.0)) / of_class[t]
        for t, (p, share) in matched.items()
        if t != p
    )
    if otherwise - right < _BEYOND_CHANCE * math.sqrt(variance) / len(seen):
        return None
    first = min(t for t, (p, _) in matched.items() if t != p)
    return OtherOrder(right, otherwise, first, matched[first][0])


def doubt_of_order(
    found: OtherOrder | None, name_of: Callable[[int], str], hint: str
) -> Notice | None:
    """What to say of another order.

    Args:
        found: The other order.
        name_of: The name of a class in the data, or its number.
        hint: What the user can do about it.
    """
    if found is None:
        return None
    return Notice(
        f"the classes of the data seem to be in another order than the network's: "
        f"{100 * found.right:.3g} % are right, and {100 * found.otherwise:.3g} % would be in that "
        f"order; what is {name_of(found.true)} is mostly class {found.predicted} to the network",
        hint,
    )


def order_doubts(found: OtherOrder | None, labels: Sequence[str] | None) -> list[Notice]:
    """What to say of another order, of data whose classes are the network's labels."""
    doubt = doubt_of_order(
        found,
        lambda index: repr(labels[index]) if labels and index < len(labels) else f"class {index}",
        "number the classes as in training, or name class folders by the labels given at export "
        "(--labels); a network without its trained weights (--weights) looks like this, too",
    )
    return [] if doubt is None else [doubt]
