"""Where the time of a model goes on a device, operator by operator.

For ONNX the times are from ONNX Runtime's own profile. TFLite's runtimes have no such profile, so
each operator is cut out into a file of its own and measured separately. That loses what a runtime
would fuse across operators, and the caches that one operator leaves warm for the next.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Literal

from edgeconv import __version__
from edgeconv.bench.check import naming
from edgeconv.bench.process_events import Answer
from edgeconv.bench.profile.records import ProfiledModel, ProfiledOperator
from edgeconv.bench.profile.roofline import Peaks, macs
from edgeconv.bench.profile.roofline_boards import board_called
from edgeconv.bench.profile.roofline_int8 import Int8AgainstFloat, int8_against_float
from edgeconv.bench.profile.split_tflite import Cut, cut
from edgeconv.bench.protocol import LEASE_SECONDS, check_files, request_for
from edgeconv.bench.result import BenchOptions, ModelFile
from edgeconv.device import Device, Lock
from edgeconv.device.messages import Conditions, Operator, Operators, Start, Warmup
from edgeconv.errors import MeasurementError
from edgeconv.progress import Progress, no_progress
from edgeconv.versioned import Versioned

ALONE_SECONDS = 0.1  # at least, of measurement and warm-up of one operator
TEXT = 4096  # what a name may be long
PROFILE_TICK_NS = 1000  # ONNX Runtime's profile has whole microseconds
TICK_NS = 1


class OperatorResult(Versioned):
    """Everything that one session profiled."""

    WHAT = "a result of edgeconv bench --operators"

    schema_version: int = 3  # 1 had no types, no roofs and no delegates; 2 no clock ticks
    kind: Literal["operators"] = "operators"
    edgeconv_version: str
    started: datetime
    device: str
    options: BenchOptions
    models: tuple[ProfiledModel, ...]
    int8_against_float: tuple[Int8AgainstFloat, ...] = ()


@dataclass(frozen=True)
class Alone:
    """What was measured of a TFLite operator in a file of its own."""

    start: Start
    ns: int
    delegated: bool | None
    conditions: tuple[Conditions, ...]


def profile(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress = no_progress,
) -> OperatorResult:
    """Profile ``options.runs`` inferences of every model.

    An ONNX file runs in one process, a TFLite file in one process for each different operator.

    Raises:
        UsageError: There is no file, a file is named twice or missing, the inputs do not fit, or
            the device lacks the CPUs.
        MeasurementError: A model could not be run.
    """
    check_files(models, options)
    started = datetime.now(timezone.utc).replace(microsecond=0)
    profiled = []
    with device.lock(LEASE_SECONDS + math.ceil(options.max_seconds)) as lock:
        for index, path in enumerate(models):
            progress(f"Profiling {path.name}", index, len(models))
            one = _profile_onnx if path.suffix == ".onnx" else _profile_tflite
            with naming(path):
                profiled.append(one(path, options, device, lock))
    return OperatorResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        options=options,
        models=tuple(profiled),
        int8_against_float=int8_against_float(profiled),
    )


def _profile_onnx(path: Path, options: BenchOptions, device: Device, lock: Lock) -> ProfiledModel:
    request = request_for(path, options, device).model_copy(update={"operators": True})
    lock.renew()
    start: Start | None = None
    states: list[Conditions] = []
    with closing(device.run(request)) as events:
        for event in events:
            if isinstance(event, Start):
                start = event
            if isinstance(event, Start | Warmup):
                states.append(event.conditions)
            elif isinstance(event, Operators) and start:
                nodes = [(operator, None) for operator in event.operators]
                return _profiled(path, options, start, states, nodes, PROFILE_TICK_NS)
    raise MeasurementError(f"{device.name}: the runner left out a part of its answer")


def _profile_tflite(path: Path, options: BenchOptions, device: Device, lock: Lock) -> ProfiledModel:
    """Measure each different operator of a TFLite file once.

    Their inputs are structured values: ``options.inputs`` are those of the whole model.
    """
    cuts = cut(path)
    measured: dict[bytes, Alone] = {}
    with _alone_on(device) as measure:
        for one in cuts:
            if one.key not in measured:
                lock.renew()
                measured[one.key] = measure(one, options)
    if not measured:
        raise MeasurementError(f"{device.name}: {path} has no operator to measure")
    nodes = [(_node(one, measured[one.key]), measured[one.key].delegated) for one in cuts]
    states = [state for alone in measured.values() for state in alone.conditions]
    return _profiled(path, options, next(iter(measured.values())).start, states, nodes, TICK_NS)


@contextmanager
def _alone_on(device: Device) -> Iterator[Callable[[Cut, BenchOptions], Alone]]:
    """Yield a function that measures operators on a device; at the end remove their files there."""
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = []

        def measure(one: Cut, options: BenchOptions) -> Alone:
            file = Path(folder) / f"{len(files)}.tflite"
            file.write_bytes(one.data)
            files.append(file)
            return _measure_alone(file, options, device)

        try:
            yield measure
        finally:
            device.remove(files)


def _measure_alone(file: Path, options: BenchOptions, device: Device) -> Alone:
    short = {"seconds": ALONE_SECONDS, "warmup": min(options.warmup, ALONE_SECONDS)}
    request = request_for(file, options.model_copy(update={"inputs": None} | short), device)
    answer = Answer()
    with closing(device.run(request.model_copy(update={"operators": True}))) as events:
        for event in events:
            answer.take(event)
    _, run = answer.process(0, 0)  # refuses what is not whole
    if answer.start is None or answer.load is None:
        raise MeasurementError(f"{device.name}: the runner left out a part of its answer")
    delegates = answer.load.delegates
    return Alone(
        start=answer.start,
        ns=round(median(answer.samples)),
        delegated=None if delegates is None else delegates > 0,
        conditions=(run.before, run.after),
    )


def _node(one: Cut, alone: Alone) -> Operator:
    return Operator(
        name=one.name[:TEXT],
        operator=one.operator[:TEXT],
        ns=alone.ns,
        inputs=one.inputs,
        outputs=one.outputs,
    )


def _profiled(
    path: Path,
    options: BenchOptions,
    start: Start,
    states: Sequence[Conditions],
    nodes: Sequence[tuple[Operator, bool | None]],
    tick_ns: int,
) -> ProfiledModel:
    frequency = max((hertz for state in states for hertz in state.frequencies_hz), default=None)
    board = board_called(start.machine.board)
    peaks = None
    if board is not None:
        cores = len(options.affinity) if options.affinity else start.machine.cores_allowed
        hertz = frequency or 1e6 * board.megahertz
        peaks = Peaks.of(board, hertz, min(options.threads, cores))
    return ProfiledModel(
        file=ModelFile.of(path),
        runtime_version=start.runtime_version,
        machine=start.machine,
        tick_ns=tick_ns,
        frequency_hz=frequency,
        peaks=peaks,
        operators=tuple(
            ProfiledOperator(
                **dict(operator),
                delegated=delegated,
                macs=macs(operator),
                roof=peaks.roof(operator) if peaks else None,
            )
            for operator, delegated in nodes
        ),
    )
