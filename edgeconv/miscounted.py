"""An error of Python 3.11 that a second try mends.

PyTorch's exporter parses sources, and NumPy parses the headers of its files. Before 3.11.8, all
threads shared one count of recursions for that, so that one thread could upset another
(https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_MOST_TRIES = 5
_MESSAGE = "AST constructor recursion depth mismatch"

T = TypeVar("T")


def tried_again(work: Callable[[], T], tries: int = _MOST_TRIES) -> T:
    """Do ``work``; do it again, up to so many times in all, if Python miscounted."""
    try:
        return work()
    except Exception as error:
        if tries == 1 or not _is_miscounted(error):
            raise
    return tried_again(work, tries - 1)


def _is_miscounted(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is that one."""
    while error is not None:
        if _MESSAGE in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
