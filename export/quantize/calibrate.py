"""Observe the range of every activation over calibration samples, one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeconv.errors import DataError
from edgeconv.export.quantize.parameters import Range
from edgeconv.export.runtimes import session_options

Batch = Sequence[npt.NDArray[np.float32]]
# Called with the name of a step, how much of it is done and how much there is.
Progress = Callable[[str, int, int], None]


class Batches(Protocol):
    """Calibration data: one pass over it an ``iter``, each of at most ``len`` batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


def calibrate(
    model: ir.Model,
    names: Iterable[str],
    batches: Batches,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Range]:
    """Least and greatest value of each named activation over all batches.

    Runs the float graph on ONNX Runtime with the activations as further outputs; no more than
    one batch and its activations are in memory.

    Args:
        batches: for each batch, one array per graph input, in the graph's own shapes.

    Raises:
        DataError: an activation is NaN or infinite.
    """
    names = list(names)
    session = _session_with_outputs(model, names)
    feeds = [graph_input.name for graph_input in session.get_inputs()]
    progress("Calibrating", 0, len(batches))
    low = np.full(len(names), np.inf)
    high = np.full(len(names), -np.inf)
    for done, batch in enumerate(batches, start=1):
        arrays = session.run(names, dict(zip(feeds, batch, strict=True)))
        for index, array in enumerate(arrays):
            low[index] = min(low[index], array.min())
            high[index] = max(high[index], array.max())
        del arrays, array  # or the next batch's activations would stand beside these
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            bad = int(np.flatnonzero(~np.isfinite(low) | ~np.isfinite(high))[0])
            raise DataError(
                f"the activation {names[bad]!r} is NaN or infinite on calibration batch {done}; "
                "check the network's weights and the data"
            )
        progress("Calibrating", done, len(batches))
    return {name: Range(float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def _session_with_outputs(model: ir.Model, names: list[str]) -> ort.InferenceSession:
    proto = ir.to_proto(model)
    present = {output.name for output in proto.graph.output}
    for name in names:
        if name not in present:
            proto.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    return ort.InferenceSession(
        proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
