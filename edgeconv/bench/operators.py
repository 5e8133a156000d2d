"""Where the time of an ONNX model goes on a device, operator by operator, as ONNX Runtime tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from edgeconv import __version__
from edgeconv.bench.protocol import LEASE_SECONDS, Progress, check_files, request_for
from edgeconv.bench.result import BenchOptions, ModelFile, Record, save_json
from edgeconv.device import Device
from edgeconv.device.messages import Machine, Operator, Operators, Start
from edgeconv.errors import MeasurementError, UsageError

SCHEMA_VERSION = 1
# Where the weights stand among an operator's inputs.
WEIGHTS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3}
# Products that sum over the last axis of their first input.
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "QLinearMatMul", "QGemm")


def macs(operator: Operator) -> int | None:
    """Multiply-accumulates of a convolution or a product as it runs, with the channels that the
    runtime pads; None of anything else."""
    results = math.prod(operator.outputs[0]) if operator.outputs else 0
    if operator.operator in WEIGHTS and len(operator.inputs) > WEIGHTS[operator.operator]:
        # Weights are [output channels, input channels of a group, height, width].
        return results * math.prod(operator.inputs[WEIGHTS[operator.operator]][1:])
    if operator.operator in PRODUCTS and operator.inputs and operator.inputs[0]:
        return results * operator.inputs[0][-1]
    return None


class ProfiledModel(Record):
    """One file and the nodes that ran, in order."""

    file: ModelFile
    runtime_version: str
    machine: Machine
    operators: tuple[Operator, ...]


class OperatorResult(Record):
    """Everything of one session."""

    schema_version: int = SCHEMA_VERSION
    kind: Literal["operators"] = "operators"
    edgeconv_version: str
    started: datetime
    device: str
    options: BenchOptions
    models: tuple[ProfiledModel, ...]

    def save(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        save_json(self, path)


def profile(
    models: Sequence[Path],
    options: BenchOptions,
    device: Device,
    progress: Callable[[Progress], None] | None = None,
) -> OperatorResult:
    """Profile ``options.runs`` inferences of every model, each in a process of its own.

    Raises:
        UsageError: no file, a file twice, one that is missing, or one that is not ONNX.
        MeasurementError: a model could not be run.
    """
    check_files(models, options)
    if others := [path for path in models if path.suffix != ".onnx"]:
        raise UsageError(
            f"{others[0]}: TFLite's runtimes tell no times of operators; name .onnx files"
        )
    started = datetime.now(timezone.utc).replace(microsecond=0)
    profiled = []
    with device.lock(LEASE_SECONDS + math.ceil(options.max_seconds)) as lock:
        for index, path in enumerate(models):
            if progress is not None:
                progress(Progress(index, len(models), path))
            lock.renew()
            try:
                profiled.append(_profile_one(path, options, device))
            except MeasurementError as error:
                raise MeasurementError(f"{path} on {error}") from error
    return OperatorResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        options=options,
        models=tuple(profiled),
    )


def _profile_one(path: Path, options: BenchOptions, device: Device) -> ProfiledModel:
    request = request_for(path, options, device).model_copy(update={"operators": True})
    start: Start | None = None
    with closing(device.run(request)) as events:
        for event in events:
            if isinstance(event, Start):
                start = event
            elif isinstance(event, Operators) and start:
                return ProfiledModel(
                    file=ModelFile.of(path),
                    runtime_version=start.runtime_version,
                    machine=start.machine,
                    operators=event.operators,
                )
    raise MeasurementError(f"{device.name}: the runner left out a part of its answer")
