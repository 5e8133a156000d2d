"""Measure how close an integer graph comes to the float graph, on calibration samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgeconv.export.data.samples import Batch
from edgeconv.export.runtimes import IntermediateOutputs
from edgeconv.metrics import EQUAL_DB, Arrays, by_output, together, worst_db


class SqnrScorer:
    """Compares candidates with the float graph.

    Args:
        model: The float graph.
        batches: The samples. Every other batch is held out; a single batch serves for both.

    Attributes:
        seen: The batches to fit candidates to, which are then measured on the others.
    """

    def __init__(self, model: ir.Model, batches: Sequence[Batch]) -> None:
        self.seen = batches[::2]
        self._unseen = batches[1::2] or batches
        self._outputs = float_outputs(model)
        self._reference = IntermediateOutputs(model, self._outputs)

    def balanced_db(self, candidate: ir.Model) -> float:
        """Measure a candidate on all batches, in dB, by its worst output.

        The result is the mean of two ratios: that of all batches together, which a few batches with
        large values decide, and the mean of the ratios of single batches.
        """
        batches = {id(batch): batch for batch in (*self.seen, *self._unseen)}.values()
        ratios = list(by_output(self._outputs_of(candidate, batches)))
        mean = np.mean([[output.db for output in batch] for batch in ratios], axis=0)
        balanced = (mean + [output.db for output in together(ratios)]) / 2
        return float(min(balanced, default=EQUAL_DB))

    def sqnr_db(self, candidate: ir.Model) -> float:
        """Measure the SQNR of a candidate on the held-out batches, in dB, by its worst output.

        The outputs of one batch are in memory at a time.
        """
        return worst_db(self._outputs_of(candidate, self._unseen))

    def _outputs_of(
        self, candidate: ir.Model, batches: Iterable[Batch]
    ) -> Iterator[tuple[Arrays, Arrays]]:
        """The outputs of the float graph and those of the candidate, for each batch."""
        integers = IntermediateOutputs(candidate, self._outputs)
        for batch in batches:
            yield self._reference.run(batch), integers.run(batch)


def float_outputs(model: ir.Model) -> list[str]:
    """The names of the graph's float outputs, which can be compared in dB."""
    return [str(value.name) for value in model.graph.outputs if value.dtype == ir.DataType.FLOAT]


def held_out_batches(batches: Iterable[Batch], samples: int, size: int) -> list[Batch]:
    """Choose as many batches as have at most ``samples`` samples and ``size`` bytes; at least one.

    They are those with the lowest hash of their bytes, so that the order of the batches does not
    matter.
    """
    held: dict[bytes, Batch] = {}
    for batch in batches:
        digest = hashlib.sha256(b"".join(array.tobytes() for array in batch)).digest()
        held[digest] = batch
        each = batch[0].shape[0] if batch and batch[0].ndim else 1
        bytes_each = max(1, sum(array.nbytes for array in batch))
        if len(held) > max(1, min(samples // each, size // bytes_each)):
            del held[max(held)]
    return [held[digest] for digest in sorted(held)]
