"""Hide the messages of PyTorch's exporter, ONNX Runtime and LiteRT from the user."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress

_NOISY = ("torch", "onnxscript", "onnx_ir", "onnxruntime")


def debugging() -> bool:
    """Whether the user asked for the libraries' own messages (``--debug``)."""
    return logging.getLogger("edgeconv").isEnabledFor(logging.DEBUG)


class _Shared:
    """A block that threads are in at the same time: the first sets it up, the last restores it.

    If each restored what it found, the last to leave would restore the silence of another.
    """

    def __init__(self, silence: Callable[[], AbstractContextManager[None]]) -> None:
        self._silence = silence
        self._lock = threading.Lock()
        self._inside = 0
        self._left = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Enter the block, unless debugging."""
        if debugging():
            yield
            return
        with self._lock:
            if self._inside == 0:
                self._left.enter_context(self._silence())
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._left.close()


@contextmanager
def _silent_python() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _silent_native() -> Iterator[None]:
    with suppress(AttributeError, OSError):  # there may be no stream, or nothing takes its text
        sys.stderr.flush()
    saved = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nothing)


_python, _native = _Shared(_silent_python), _Shared(_silent_native)


def quiet_python() -> AbstractContextManager[None]:
    """Silence warnings and the loggers of noisy libraries, unless debugging."""
    return _python()


def quiet_native() -> AbstractContextManager[None]:
    """Discard what native code writes to standard error, unless debugging.

    LiteRT writes to file descriptor 2 directly, so Python's sys.stderr cannot catch it. Keep the
    block short: it discards the messages of other threads too.
    """
    return _native()
