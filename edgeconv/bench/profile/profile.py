"""Where the time of a model goes on a device, operator by operator.

For ONNX the times are from ONNX Runtime's own profile. TFLite's runtimes have no such profile, so
each operator is cut out into a file of its own and measured separately. That loses what a runtime
would fuse across operators, and the caches that one operator leaves warm for the next.

Either way the protocol is that of files: several processes, which take turns, are checked for
disturbances and repeated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from edgeconv import __version__
from edgeconv.bench.clocks import SHORTEST_SECONDS
from edgeconv.bench.profile.records import ProfiledModel, ProfiledOperator
from edgeconv.bench.profile.roofline import Peaks, macs
from edgeconv.bench.profile.roofline_boards import board_called
from edgeconv.bench.profile.roofline_int8 import Int8AgainstFloat, int8_against_float
from edgeconv.bench.profile.split_tflite import Cut, cut
from edgeconv.bench.protocol import check_files, measure
from edgeconv.bench.result import (
    EACH_FILE_ONCE,
    BenchOptions,
    BenchResult,
    Interval,
    ModelFile,
    ModelResult,
    ProcessRun,
)
from edgeconv.bench.statistics import of_logs
from edgeconv.device import Device
from edgeconv.device.messages import Machine, Operator
from edgeconv.errors import BusyDevice, MeasurementError, UsageError
from edgeconv.progress import Progress, no_progress
from edgeconv.scratch import temporary_folder
from edgeconv.versioned import Versioned

TEXT = 4096  # what a name may be long
PROFILE_TICK_NS = 1000  # ONNX Runtime's profile has whole microseconds
TICK_NS = 1
# What ONNX Runtime appends to the names of nodes that it rewrites.
REWRITTEN = re.compile(r"(_nchwc)?(_token_\d+)?$")


class OperatorResult(Versioned):
    """Everything that one session profiled."""

    WHAT = "a result of edgeconv bench --operators"

    schema_version: int = 4  # 1 had no types, no roofs and no delegates; 2 no clock ticks; 3 was
    # one process, without intervals and checks
    kind: Literal["operators"] = "operators"
    edgeconv_version: str
    started: datetime
    device: str
    options: BenchOptions
    models: Annotated[tuple[ProfiledModel, ...], EACH_FILE_ONCE] = Field(min_length=1)
    int8_against_float: tuple[Int8AgainstFloat, ...] = ()
    warnings: tuple[str, ...] = ()


def profile(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress = no_progress,
    *,
    optional: Collection[Path] = (),
) -> OperatorResult:
    """Profile ``options.runs`` inferences of every model in each of ``options.repetitions``.

    An ONNX file is one process of a repetition, each different operator of a TFLite file another.
    Models that are ``optional`` are left out if the device cannot run them, TFLite files only
    together, and a warning says why.

    Raises:
        UsageError: There is no file, a file is named twice or missing, the inputs do not fit, or
            the device lacks the CPUs.
        MeasurementError: A model could not be run, or computes something else on the device.
    """
    check_files(models, options)
    started = datetime.now(timezone.utc).replace(microsecond=0)
    options = options.model_copy(update={"seconds": SHORTEST_SECONDS})
    profiled: dict[Path, ProfiledModel] = {}
    warnings: list[str] = []
    failure: MeasurementError | None = None
    onnx = [path for path in models if path.suffix == ".onnx"]
    tflite = [path for path in models if path.suffix != ".onnx"]
    parts = ((onnx, partial(_profile_onnx, optional=optional)), (tflite, _profile_tflite))
    for wanted, profile_part in parts:
        if not wanted:
            continue
        try:
            found, said = profile_part(wanted, options, device, progress)
        except BusyDevice:
            raise
        except MeasurementError as error:
            if not set(wanted) <= set(optional):
                raise
            failure = error
            warnings.append(f"left out: {error.message}")
            continue
        profiled |= found
        warnings += said
    if failure is not None and not profiled:
        raise failure
    ordered = tuple(profiled[path] for path in models if path in profiled)
    return OperatorResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        options=options,
        models=ordered,
        int8_against_float=int8_against_float(ordered),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _profile_onnx(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress,
    *,
    optional: Collection[Path],
) -> tuple[dict[Path, ProfiledModel], tuple[str, ...]]:
    """Let ONNX Runtime profile its nodes."""
    result = measure(models, options, device, progress, optional=optional, operators=True)
    left = {one.file.name: f"left out: {one.reason}" for one in result.left_out}
    ran = [path for path in models if str(path) not in left]
    profiled = {
        path: _of_onnx(path, options, result.machine, model)
        for path, model in zip(ran, result.models, strict=True)
    }
    return profiled, (*left.values(), *result.warnings)


def _of_onnx(
    path: Path, options: BenchOptions, machine: Machine, model: ModelResult
) -> ProfiledModel:
    """Put together what each process that counts has said of every node."""
    times: dict[str, list[int]] = {}
    for run in model.counted:
        for operator in run.operators:
            times.setdefault(operator.name, []).append(operator.ns)
    nodes = [
        _Timed(
            operator.model_copy(update={"name": REWRITTEN.sub("", operator.name)}),
            tuple(times[operator.name]),
        )
        for operator in model.counted[0].operators
    ]
    if not nodes:
        raise MeasurementError(f"{path}: the runner left out a part of its answer")
    return _profiled(path, options, machine, model.counted, nodes, PROFILE_TICK_NS)


def _profile_tflite(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress,
) -> tuple[dict[Path, ProfiledModel], tuple[str, ...]]:
    """Measure each different operator of TFLite files once, all of them in turns.

    Their inputs are structured values: ``options.inputs`` are those of the whole model.
    """
    cuts = {path: cut(path) for path in models}
    for path, found in cuts.items():
        if not found:
            raise MeasurementError(
                f"{device.name}: {path} has no operator to measure",
                hint="profile a file with operators",
            )
    files: dict[bytes, Path] = {}
    labels: dict[str, _Label] = {}
    with temporary_folder() as folder:
        for path, one in ((file, one) for file in models for one in cuts[file]):
            if one.key not in files:
                word = re.sub(r"\W", "", one.operator, flags=re.ASCII)
                file = folder / f"{len(files)}_{word}.tflite"
                file.write_bytes(one.data)
                files[one.key] = file
                labels[str(file)] = _Label(path, f"{one.operator} {one.name[:TEXT]}")
        alone = options.model_copy(update={"inputs": None})
        try:
            result = _measured(list(files.values()), alone, device, progress, labels)
        finally:
            device.remove(list(files.values()))
    by_key = dict(zip(files, result.models, strict=True))
    profiled = {
        path: _of_tflite(path, options, result.machine, [(one, by_key[one.key]) for one in found])
        for path, found in cuts.items()
    }
    return profiled, _grouped(result.warnings, labels)


def _measured(
    files: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Progress,
    labels: dict[str, _Label],
) -> BenchResult:
    """Measure files of one operator; errors name the operators."""
    try:
        return measure(files, options, device, progress, operators=True)
    except (MeasurementError, UsageError) as error:
        raise type(error)(_relabeled(error.message, labels), hint=error.hint) from error


@dataclass(frozen=True)
class _Label:
    """What a file of one operator is called: the file that it is from, and the operator."""

    path: Path
    operator: str

    def __str__(self) -> str:
        return f"{self.path}: {self.operator}"


def _relabeled(text: str, labels: dict[str, _Label]) -> str:
    for file, label in labels.items():
        text = text.replace(file, str(label))
    return text


def _grouped(warnings: Sequence[str], labels: dict[str, _Label]) -> tuple[str, ...]:
    """The warnings; what holds for several operators of a file is said once."""
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        file, _, rest = warning.partition(": ")
        label = labels.get(file)
        said, who = (warning, "") if label is None else (f"{label.path}: {rest}", label.operator)
        groups.setdefault(_relabeled(said, labels), []).append(who)
    return tuple(
        said if names == [""] else f"{said} ({names[0] if len(names) == 1 else _many(names)})"
        for said, names in groups.items()
    )


def _many(names: Sequence[str]) -> str:
    return f"{len(names)} operators, such as {names[0]}"


def _of_tflite(
    path: Path,
    options: BenchOptions,
    machine: Machine,
    measured: Sequence[tuple[Cut, ModelResult]],
) -> ProfiledModel:
    nodes = []
    for one, model in measured:
        times = tuple(round(median(samples)) for samples in model.samples)
        delegates = model.counted[0].delegates
        operator = Operator(
            name=one.name[:TEXT],
            operator=one.operator[:TEXT],
            ns=0,
            inputs=one.inputs,
            outputs=one.outputs,
        )
        nodes.append(_Timed(operator, times, None if delegates is None else delegates > 0))
    runs = [run for _, model in measured for run in model.counted]
    return _profiled(path, options, machine, runs, nodes, TICK_NS)


@dataclass(frozen=True)
class _Timed:
    """An operator, and the median of its times in each process that counts."""

    operator: Operator
    times: tuple[int, ...]
    delegated: bool | None = None

    def profiled(self, peaks: Peaks | None, tick_ns: int) -> ProfiledOperator:
        """What is recorded of it: the geometric mean of the times, where the clock shows any."""
        ns, interval = round(median(self.times)), None
        if min(self.times) > 0:
            estimate = of_logs(np.log(self.times))
            ns = round(estimate.value)
            if len(self.times) > 1:  # a profile's times are rounded down to whole ticks
                low, high = estimate.low, estimate.high + tick_ns - 1
                interval = Interval(value=estimate.value, low=low, high=high)
        operator = self.operator.model_copy(update={"ns": ns})
        return ProfiledOperator(
            **dict(operator),
            interval=interval,
            times_ns=self.times,
            delegated=self.delegated,
            macs=macs(operator),
            roof=peaks.roof(operator) if peaks else None,
        )


def _profiled(
    path: Path,
    options: BenchOptions,
    machine: Machine,
    runs: Sequence[ProcessRun],
    nodes: Sequence[_Timed],
    tick_ns: int,
) -> ProfiledModel:
    states = [state for run in runs for state in run.states]
    frequency = max((hertz for state in states for hertz in state.frequencies_hz), default=None)
    board = board_called(machine.board)
    peaks = None
    if board is not None:
        cores = len(options.affinity) if options.affinity else machine.cores_allowed
        hertz = frequency or 1e6 * board.megahertz
        peaks = Peaks.of(board, hertz, min(max(options.sweep), cores))
    return ProfiledModel(
        file=ModelFile.of(path),
        runtime_version=runs[0].runtime_version,
        machine=machine,
        tick_ns=tick_ns,
        frequency_hz=frequency,
        peaks=peaks,
        operators=tuple(node.profiled(peaks, tick_ns) for node in nodes),
    )
