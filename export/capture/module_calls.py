"""The calls of modules, counted: how much of a network has run or is traced."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook


class CallCounter:
    """How many modules were called, those within others included.

    Args:
        report: Called with the count at each call.

    Attributes:
        count: The calls until now.
        error: What ``report`` raised. A caller that turns the errors of a network into others
            raises this one as it is.
    """

    def __init__(self, report: Callable[[int], None] | None = None) -> None:
        self._report = report
        self.count = 0
        self.error: Exception | None = None

    def add(self) -> None:
        """Take note of one call."""
        self.count += 1
        if self._report is not None:
            try:
                self._report(self.count)
            except Exception as error:
                self.error = error
                raise


@contextmanager
def counted_calls(report: Callable[[int], None] | None = None) -> Iterator[CallCounter]:
    """Count the calls of modules in this thread.

    PyTorch's tracer calls each module once, as an ordinary run does.

    Args:
        report: Called with the count at each call.

    Yields:
        The count.
    """
    counter, thread = CallCounter(report), threading.get_ident()

    def hook(module: nn.Module, arguments: Any) -> None:
        if threading.get_ident() == thread:
            counter.add()

    handle = register_module_forward_pre_hook(hook)
    try:
        yield counter
    finally:
        handle.remove()
