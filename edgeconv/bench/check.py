"""Before any time is taken: what each model computes on the device, and how much memory it needs.

A process of its own runs each model once. Its outputs are compared with those of this machine on
the same inputs, because a fast wrong model is worth nothing; its memory is not blurred by the
bookkeeping of a measurement.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeconv.bench.process_events import Answer
from edgeconv.bench.result import Agreement, Memory
from edgeconv.bundle import MIN_WITHIN_ONE_STEP
from edgeconv.device import Device, RunRequest
from edgeconv.device.local import LocalDevice
from edgeconv.device.messages import Output
from edgeconv.errors import MeasurementError, UsageError
from edgeconv.metrics import EQUAL_DB, Sqnr

# Kernels round differently, and a Pi may compute in half precision: tens of dB remain. A network
# that computes something else has none.
MIN_SQNR_DB = 20.0
LEVELS = 256  # a float output with at most so many values counts as dequantized


@dataclass(frozen=True)
class Checked:
    """What the check pass found of one model.

    ``note`` is why outputs were not compared, ``failure`` why the device cannot run it at all.
    """

    memory: Memory | None
    agreement: Agreement | None
    note: str | None
    failure: MeasurementError | None = None


def check_models(
    models: Sequence[Path],
    requests: Sequence[RunRequest],
    inputs: Path | None,
    device: Device,
    optional: Collection[Path] = (),
) -> list[Checked]:
    """Run every model once on the device, and here unless the device is this Python.

    Args:
        models: The files.
        requests: What is about to be measured, one request per model.
        inputs: This machine's file of inputs, if any.
        device: Where to run them.
        optional: Models that may fail to run, as long as another one runs.

    Raises:
        UsageError: The inputs do not fit, or the device lacks the CPUs that were asked for.
        MeasurementError: A model cannot be run, or its outputs are not those computed here.
    """
    found = [
        _check(model, request, inputs, device, optional=model in optional)
        for model, request in zip(models, requests, strict=True)
    ]
    failures = [checked.failure for checked in found if checked.failure]
    if len(failures) == len(found):
        raise failures[0]
    return found


def _check(
    model: Path, request: RunRequest, inputs: Path | None, device: Device, *, optional: bool
) -> Checked:
    try:
        with naming(model):
            there, memory = _once(request, device)
    except MeasurementError as error:
        if not optional:
            raise
        return Checked(None, None, None, error)
    host = LocalDevice()
    if device == host:
        return Checked(memory, None, None)
    own = {
        "model": host.place(model),
        "inputs": host.place(inputs) if inputs else None,
        "runtime": None,  # the one that this machine has for such files
        "affinity": None,
        "xnnpack": None,
    }
    try:
        here, _ = _once(request.model_copy(update=own), host)
    except (MeasurementError, UsageError) as error:
        return Checked(memory, None, f"{model}: its outputs were not compared: {error.message}")
    return compared(there, here, memory, f"{model} on {device.name}")


@contextmanager
def naming(model: Path) -> Iterator[None]:
    """Name the model in a device's errors, which begin with the device's name."""
    try:
        yield
    except (MeasurementError, UsageError) as error:
        raise type(error)(f"{model} on {error.message}", hint=error.hint) from error


def _once(request: RunRequest, device: Device) -> tuple[tuple[Output, ...], Memory | None]:
    """The outputs of the first inference, and the memory until then."""
    once = {"min_runs": 1, "min_seconds": 0.0, "warmup_runs": 0, "warmup_seconds": 0.0}
    once |= {"reading_seconds": 0.0, "operators": False}
    answer = Answer()
    with closing(device.run(request.model_copy(update=once))) as events:
        for event in events:
            answer.take(event)
    start, first, outputs = answer.start, answer.first, answer.outputs
    if not (start and first and outputs):
        raise MeasurementError(f"{device.name}: the runner left out a part of its answer")
    before, peak = start.conditions.peak_rss_bytes, first.peak_rss_bytes
    memory = None if before is None or peak is None else Memory(before=before, peak=peak)
    return outputs.outputs, memory


def compared(
    there: Sequence[Output], here: Sequence[Output], memory: Memory | None, where: str
) -> Checked:
    """Compare a device's outputs with this machine's.

    Raises:
        MeasurementError: They are not those of the same network.
    """
    shapes = [[(output.dtype, output.shape) for output in side] for side in (there, here)]
    if shapes[0] != shapes[1]:
        raise MeasurementError(f"{where}: its outputs are {shapes[0]}, on this machine {shapes[1]}")
    figures = []
    for ours, theirs in zip(here, there, strict=True):
        if ours.sha256 == theirs.sha256:
            continue
        kind = np.dtype(ours.dtype)
        if ours.base64 is None or theirs.base64 is None:
            return Checked(memory, None, f"{where}: {ours.name} is too large to be compared")
        # An index (of the largest score, say) is right or wrong, and a near tie decides.
        if kind.kind != "f" and (kind.kind not in "iu" or kind.itemsize > 2):
            note = f"{where}: {ours.name}, an index or a decision, differs from this machine's"
            return Checked(memory, None, note)
        figures.append(agreement(_values(theirs, kind, where), _values(ours, kind, where)))
    sqnr = [f.sqnr_db for f in figures if f.sqnr_db is not None]
    steps = [f.within_one_step for f in figures if f.within_one_step is not None]
    worst = Agreement(sqnr_db=min(sqnr, default=None), within_one_step=min(steps, default=None))
    for figure in figures:
        if figure.sqnr_db is None or figure.sqnr_db >= MIN_SQNR_DB:
            continue
        if figure.within_one_step is None or figure.within_one_step < MIN_WITHIN_ONE_STEP:
            raise MeasurementError(
                f"{where}: it computes something else than on this machine (signal-to-noise "
                f"{figure.sqnr_db:.1f} dB, at least {MIN_SQNR_DB:.0f} dB expected), so its latency "
                "means nothing",
                hint="use another runtime there; this one, or its kernels, compute wrong results",
            )
    return Checked(memory, worst, None)


def agreement(there: NDArray[np.float64], here: NDArray[np.float64]) -> Agreement:
    """How near two outputs of the same shape are. Values that are not finite must be equal."""
    wild = ~(np.isfinite(there) & np.isfinite(here))
    if not np.array_equal(there[wild], here[wild], equal_nan=True):
        return Agreement(sqnr_db=-EQUAL_DB, within_one_step=0.0)
    there, here = there[~wild], here[~wild]
    ratio = Sqnr.between(here, there)
    values = np.unique(here)
    steps = None
    if 1 < values.size <= LEVELS:
        step = float(np.diff(values).min())
        steps = float((np.abs(there - here) <= step * 1.01).mean())
    return Agreement(sqnr_db=ratio.db if ratio.noise else None, within_one_step=steps)


def _values(output: Output, kind: np.dtype[np.generic], where: str) -> NDArray[np.float64]:
    """The elements in one dimension.

    Raises:
        MeasurementError: the bytes are not those that the output is said to have.
    """
    try:
        data = base64.b64decode(output.base64 or "", validate=True)
    except binascii.Error as error:
        raise MeasurementError(f"{where}: the outputs that it sent are damaged") from error
    whole = len(data) == math.prod(output.shape) * kind.itemsize
    if not whole or hashlib.sha256(data).hexdigest() != output.sha256:
        raise MeasurementError(f"{where}: the outputs that it sent are damaged")
    return np.frombuffer(data, kind).astype(np.float64)
