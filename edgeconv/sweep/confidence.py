"""How sure an exit is of its class: three measures between 0 and 1, more is surer."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Confidence(str, Enum):
    """What is compared with the threshold of an exit, all of the softmax of its logits.

    PROBABILITY is the largest probability, MARGIN that less the second largest, and ENTROPY
    1 - H / ln(classes), where H is the entropy in nats.
    """

    PROBABILITY = "probability"
    MARGIN = "margin"
    ENTROPY = "entropy"


def confidences(logits: npt.NDArray[Any]) -> Floats:
    """All measures of a sample.

    Args:
        logits: [classes], two at least.

    Returns:
        Float64 [measures], in the order of :class:`Confidence`.
    """
    odds = np.exp(logits.astype(np.float64) - float(logits.max()))
    shares = odds / odds.sum()
    second, first = np.partition(shares, -2)[-2:]
    entropy = -float(np.sum(shares * np.log(np.maximum(shares, np.finfo(np.float64).tiny))))
    measures = np.array([first, first - second, 1 - entropy / np.log(len(shares))])
    within: Floats = np.clip(measures, 0.0, 1.0)  # a uniform softmax may round to below 0
    return within
