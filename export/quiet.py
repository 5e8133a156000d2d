"""Hide the messages of PyTorch's exporter, ONNX Runtime and LiteRT from the user."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_NOISY = ("torch", "onnxscript", "onnx_ir", "onnxruntime")


def debugging() -> bool:
    """Whether the user asked for the libraries' own messages (``--debug``)."""
    return logging.getLogger("edgeconv").isEnabledFor(logging.DEBUG)


@contextmanager
def quiet_python() -> Iterator[None]:
    """Silence warnings and the loggers of noisy libraries, unless debugging."""
    if debugging():
        yield
        return
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
def quiet_native() -> Iterator[None]:
    """Discard what native code writes to standard error, unless debugging.

    LiteRT writes to file descriptor 2 directly, so Python's sys.stderr cannot catch it. Keep the
    block short: it discards the messages of other threads too.
    """
    if debugging():
        yield
        return
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
