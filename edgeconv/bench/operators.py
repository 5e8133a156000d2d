"""Where the time of a model goes on a device, operator by operator.

ONNX Runtime tells it in its own profile. TFLite's runtimes tell nothing, so each operator is cut
out into a file of its own and measured alone; what a runtime would fuse across operators, and the
caches that one leaves warm for the next, are lost there.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Literal

from edgeconv import __version__
from edgeconv.bench.answer import Answer
from edgeconv.bench.cutting import cut
from edgeconv.bench.protocol import LEASE_SECONDS, Progress, check_files, request_for
from edgeconv.bench.result import BenchOptions, ModelFile, Record, save_json
from edgeconv.device import Device, Lock
from edgeconv.device.messages import Machine, Operator, Operators, Start
from edgeconv.errors import MeasurementError

SCHEMA_VERSION = 1
ALONE_SECONDS = 0.1  # at least, of measurement and warm-up of one operator
TEXT = 4096  # what a name may be long
# Where the weights stand among an operator's inputs.
WEIGHTS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "QLinearConv": 3}
# Axes of the weights that a result of these sums over: [out, height, width, in], [1, height, width,
# out] and [out, in].
TFLITE = {"CONV_2D": (1, 4), "DEPTHWISE_CONV_2D": (1, 3), "FULLY_CONNECTED": (1, 2)}
# Products that sum over the last axis of their first input.
PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "QLinearMatMul", "QGemm")


def macs(operator: Operator) -> int | None:
    """Multiply-accumulates of a convolution or a product as it runs, with the channels that the
    runtime pads; None of anything else."""
    results = math.prod(operator.outputs[0]) if operator.outputs else 0
    if operator.operator in WEIGHTS and len(operator.inputs) > WEIGHTS[operator.operator]:
        # Weights are [output channels, input channels of a group, height, width].
        return results * math.prod(operator.inputs[WEIGHTS[operator.operator]][1:])
    if operator.operator in TFLITE and len(operator.inputs) > 1 and operator.inputs[1]:
        first, last = TFLITE[operator.operator]
        return results * math.prod(operator.inputs[1][first:last])
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
    """Profile ``options.runs`` inferences of every model: of an ONNX file in one process, of a
    TFLite file in one for each different operator.

    Raises:
        UsageError: no file, a file twice, or one that is missing.
        MeasurementError: a model could not be run.
    """
    check_files(models, options)
    started = datetime.now(timezone.utc).replace(microsecond=0)
    profiled = []
    with device.lock(LEASE_SECONDS + math.ceil(options.max_seconds)) as lock:
        for index, path in enumerate(models):
            if progress is not None:
                progress(Progress(index, len(models), path))
            try:
                one = _profile_onnx if path.suffix == ".onnx" else _profile_tflite
                profiled.append(one(path, options, device, lock))
            except MeasurementError as error:
                raise MeasurementError(f"{path} on {error}") from error
    return OperatorResult(
        edgeconv_version=__version__,
        started=started,
        device=device.name,
        options=options,
        models=tuple(profiled),
    )


def _profile_onnx(path: Path, options: BenchOptions, device: Device, lock: Lock) -> ProfiledModel:
    request = request_for(path, options, device).model_copy(update={"operators": True})
    lock.renew()
    start: Start | None = None
    with closing(device.run(request)) as events:
        for event in events:
            if isinstance(event, Start):
                start = event
            elif isinstance(event, Operators) and start:
                return _profiled(path, start, event.operators)
    raise MeasurementError(f"{device.name}: the runner left out a part of its answer")


def _profile_tflite(path: Path, options: BenchOptions, device: Device, lock: Lock) -> ProfiledModel:
    """Equal operators are measured once. Their inputs are structured values: ``options.inputs``
    are the whole model's."""
    short = {"seconds": ALONE_SECONDS, "warmup": min(options.warmup, ALONE_SECONDS)}
    alone = options.model_copy(update={"inputs": None} | short)
    medians: dict[bytes, int] = {}
    start: Start | None = None
    operators = []
    with tempfile.TemporaryDirectory() as folder:
        for one in cut(path):
            if one.key not in medians:
                file = Path(folder) / f"{len(medians)}.tflite"
                file.write_bytes(one.data)
                lock.renew()
                answer = Answer()
                with closing(device.run(request_for(file, alone, device))) as events:
                    for event in events:
                        answer.take(event)
                answer.process(0, 0)  # refuses what is not whole
                start = answer.start
                medians[one.key] = round(median(answer.samples))
            operators.append(
                Operator(
                    name=one.name[:TEXT],
                    operator=one.operator[:TEXT],
                    ns=medians[one.key],
                    inputs=one.inputs,
                    outputs=one.outputs,
                )
            )
    if start is None:
        raise MeasurementError(f"{device.name}: {path} has no operator to measure")
    return _profiled(path, start, operators)


def _profiled(path: Path, start: Start, operators: Sequence[Operator]) -> ProfiledModel:
    return ProfiledModel(
        file=ModelFile.of(path),
        runtime_version=start.runtime_version,
        machine=start.machine,
        operators=tuple(operators),
    )
