"""Measure quantized graphs on the samples that verify files, as verification does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.quantize.accuracy.judge import Judge

# Puts what a file computes behind the scores, if anything, behind a graph of the network.
Finish = Callable[[ir.Model], ir.Model]


class HeldBack:
    """Measures on samples that nothing was fitted to.

    Args:
        samples: Gives the samples, which are complete after the first pass over the data.
        expected: The float graph, as the files compute it.
        finish: Makes of a QDQ graph what the files compute.
    """

    def __init__(
        self, samples: Callable[[], Sequence[Batch]], expected: ir.Model, finish: Finish
    ) -> None:
        self._samples, self._expected, self._finish = samples, expected, finish

    @cached_property
    def _judge(self) -> Judge:
        return Judge.on(self._expected, self._samples())

    def sqnr_db(self, qdq: ir.Model) -> float:
        """The SQNR of the worst output or part of a joined one, in dB."""
        return self._judge.sqnr_db(self._finish(qdq))
