"""Keep PyTorch's exporter from parsing the sources of hundreds of functions that it only lists.

The exporter lists what onnxscript has for PyTorch's operators, each with the domain of its
``function_ir``. That property parses the source of the function whenever it is read, which takes
longer than the translation of a network. The domain is that of the function's opset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from onnxscript._internal import values

_TRACED = getattr(values, "TracedOnnxFunction", None)  # the module is onnxscript's own


@contextmanager
def unparsed_functions() -> Iterator[None]:
    """Let ``function_ir`` parse a function inside the block once more than its domain is read."""
    parse = getattr(vars(_TRACED).get("function_ir"), "fget", None) if _TRACED else None
    if parse is None:  # another release of onnxscript
        yield
        return
    with patch.object(_TRACED, "function_ir", property(lambda each: _Unparsed(each, parse))):
        yield


class _Unparsed:
    """Stands for the ``function_ir`` of a function until more is read of it than its domain."""

    def __init__(self, function: Any, parse: Callable[[Any], Any]) -> None:
        self._function, self._parse = function, parse
        self.domain: str = function.opset.domain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parse(self._function), name)
