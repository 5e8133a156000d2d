"""Which layers of a network lose accuracy in 8 bits, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeconv.bundle import OPEN, Artifact, Bundle, Format, Precision
from edgeconv.errors import UsageError
from edgeconv.evaluation import Figure
from edgeconv.export.blame.by_task import TaskMeter, loss
from edgeconv.export.blame.causes import ALL
from edgeconv.export.blame.measure import InPlace, Meter
from edgeconv.export.blame.reasons import explain
from edgeconv.export.blame.report import Blame, LayerBlame, Span, TaskFigures
from edgeconv.export.blame.units import Unit, find_units, only
from edgeconv.export.capture.onnx_file import capture_file
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.integer_ranges import integer_ranges
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import batch_size, inputs_of_samples
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import Batch, QuantizeOptions, fit
from edgeconv.export.quantize.accuracy.held_out import float_outputs, held_out_batches
from edgeconv.export.quantize.calibrated import CalibratedModel
from edgeconv.export.runtimes import open_runner
from edgeconv.export.tasks import open_task
from edgeconv.export.tensor_info import input_infos
from edgeconv.metrics import worst_db
from edgeconv.progress import Progress, no_progress

__all__ = ["Blame", "LayerBlame", "Span", "blame"]

# The figures are taken on so many samples and bytes at the most; they settle within 1 dB.
_SAMPLES = 16
_BYTES = 64_000_000
# A layer whose output is so much worse with all layers in 8 bits inherits its noise.
_INHERITED_DB = 6.0


def blame(
    bundle: Bundle,
    data: str | Path,
    *,
    options: QuantizeOptions | None = None,
    calibration_size: int = 128,
    labeled: Any = None,
    task: str = "classification",
    truth: Path | None = None,
    progress: Progress = no_progress,
) -> Blame:
    """Quantize the float network of a bundle, layer by layer and as a whole.

    Biases are not corrected, because that moves the error of a layer into others.

    Args:
        bundle: The bundle; its float32 ONNX file is quantized.
        data: Where the samples for calibration and for the figures come from, as
            :func:`edgeconv.export.data.open.open_samples` takes it.
        options: How to quantize.
        calibration_size: How many samples to calibrate on at the most.
        labeled: Labeled samples, if the layers are to be judged by a task: what ``evaluate`` takes.
        task: The task, as ``evaluate`` takes it.
        truth: Where the truth of the labeled samples is, if not among them.
        progress: Called with (step, done, total).

    Raises:
        UsageError: The bundle has no float32 ONNX file, or no operator in it has an int8 form.
        DataError: The data does not fit the network.
    """
    manifest = bundle.manifest
    source = _find(bundle, Precision.FLOAT32)
    if source is None:
        raise UsageError(
            f"{bundle.path} has no float32 ONNX file to quantize",
            hint="export it with --format onnx --precision float32",
        )
    options = options or QuantizeOptions()
    batch = batch_size(manifest.inputs) or 1
    judge = None if labeled is None else _judge(bundle, labeled, task, truth, batch)
    # One sample where the file is for any number of them.
    is_open = any(info.shape[:1] == (OPEN,) for info in manifest.inputs)
    graph = _float_graph(bundle.file(source), 1 if is_open else None)
    only_integers = not float_outputs(graph)
    if only_integers:
        graph.graph.outputs.extend(_floats_behind(graph))
    inputs = inputs_of_samples(manifest.inputs)
    samples = open_samples(data, inputs, manifest.preprocessing, integer_ranges(graph))
    shapes = [info.shape for info in input_infos(graph)]
    # Outlying samples stay here: they are among the causes that are looked for.
    feed = SampleBatches(samples, count=calibration_size, batch=batch, shapes=shapes)
    options = replace(options, bias_correction=False, reconstruction=False, repair=False)
    draft, _ = fit(graph, feed, options, progress)
    batches = held_out_batches(feed, _SAMPLES, _BYTES)
    meter = Meter(draft, batches)
    integers, float_fallback = draft.to_qdq()
    before = None if judge is None else judge.figure(draft.model)
    layers = _layers(draft, integers, meter, judge, before, _module_names(graph), progress)
    record = feed.record(draft.options.range_method.value)
    return Blame(
        model=manifest.model,
        data=record.source,
        calibration_samples=record.samples,
        samples=sum(arrays[0].shape[0] for arrays in batches),
        method=record.method,
        sqnr_db=meter.network_db(integers),
        file_sqnr_db=None if only_integers else _file_sqnr_db(bundle, batches),
        layers=tuple(sorted(layers, key=lambda each: (-(each.task_loss or 0.0), each.alone_db))),
        float_fallback=float_fallback,
        task=None
        if judge is None or before is None
        else TaskFigures(task=task, float_network=before, int8_network=judge.figure(integers)),
    )


def _layers(
    draft: CalibratedModel,
    integers: ir.Model,
    meter: Meter,
    judge: TaskMeter | None,
    before: Figure | None,
    names: Mapping[str, str],
    progress: Progress,
) -> list[LayerBlame]:
    """What each layer loses, in the order of the graph.

    Args:
        draft: The float graph, with the parameters of its 8-bit form.
        integers: The QDQ graph with all layers in 8 bits.
        meter: Measures SQNR.
        judge: Measures the task's figure, if there is one.
        before: That figure of the float graph.
        names: The names of layers to people, by their results.
        progress: Called with (step, done, total).
    """
    units = find_units(draft)
    in_place = meter.in_place(units, integers)
    alone, task_losses = [], []
    for done, unit in enumerate(units):
        progress("Measuring layers", done, len(units))
        alone.append(meter.alone_db(unit))
        if judge is not None and before is not None:
            task_losses.append(loss(before, judge.figure(only(draft, unit))))
    return [
        _layer(
            unit,
            draft,
            in_place,
            name=names.get(str(unit.node.outputs[0].name), unit.output),
            position=position,
            alone_db=alone[position],
            share=share,
            task_loss=task_losses[position] if task_losses else None,
        )
        for position, (unit, share) in enumerate(zip(units, _shares(alone), strict=True))
    ]


def _judge(bundle: Bundle, labeled: Any, task: str, truth: Path | None, batch: int) -> TaskMeter:
    """Open the labeled samples of a task."""
    opened = open_task(task)
    data = Path(labeled) if isinstance(labeled, str) else labeled
    samples = opened.open(data, truth, bundle.manifest)
    return TaskMeter(opened, samples, [each.name for each in bundle.manifest.outputs], batch)


def _find(bundle: Bundle, precision: Precision) -> Artifact | None:
    for artifact in bundle.manifest.artifacts:
        if artifact.format is Format.ONNX and artifact.precision is precision:
            return artifact
    return None


def _float_graph(path: Path, batch: int | None) -> ir.Model:
    return optimize(capture_file(path, None, input_size=None, batch=batch).graph)


def _floats_behind(model: ir.Model) -> list[ir.Value]:
    """The float values that the outputs, none of which is float, are computed from.

    A label or a map of classes has no SQNR; the scores of which it is the largest have one.
    """
    found: dict[str, ir.Value] = {}
    waiting, seen = list(model.graph.outputs), set()
    while waiting:
        node = waiting.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        for value in node.inputs:
            if value is None or value.producer() is None:
                continue
            if value.dtype == ir.DataType.FLOAT:
                found[str(value.name)] = value
            else:
                waiting.append(value)
    return list(found.values())


def _shares(alone: list[float]) -> list[float]:
    """The share of each layer in the noise at the network's output, if noises simply add up.

    Args:
        alone: SQNR of the output in dB with only that layer in 8 bits, for each layer.
    """
    noise = np.array([10 ** (-decibels / 10) for decibels in alone])
    shares: list[float] = (noise / noise.sum()).tolist()
    return shares


def _module_names(graph: ir.Model) -> dict[str, str]:
    """Find the PyTorch module of each layer with a weight, by the name of the layer's output."""
    names = {}
    for node in graph.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if weight is not None and str(weight.name).endswith(".weight"):
            names[str(node.outputs[0].name)] = str(weight.name).removesuffix(".weight")
    return names


def _layer(
    unit: Unit,
    draft: CalibratedModel,
    found: InPlace,
    *,
    name: str,
    position: int,
    alone_db: float,
    share: float,
    task_loss: float | None,
) -> LayerBlame:
    causes, in_place_db = found.causes[position], found.decibels[position]
    return LayerBlame(
        name=name,
        position=position,
        node=str(unit.node.name),
        operator=unit.operator,
        alone_db=alone_db,
        share=share,
        own_db=causes[ALL],
        in_place_db=in_place_db,
        inherited=in_place_db < causes[ALL] - _INHERITED_DB,
        inputs=tuple(_span(draft, name) for name in unit.inputs),
        output=_span(draft, unit.output),
        reason=explain(unit, draft, causes, found.statistics),
        task_loss=task_loss,
    )


def _span(draft: CalibratedModel, name: str) -> Span:
    covered = draft.activations[name].range
    return Span(low=covered.low, high=covered.high)


def _file_sqnr_db(bundle: Bundle, batches: list[Batch]) -> float | None:
    """SQNR in dB of the bundle's int8 ONNX file against its float32 one, if there are both."""
    artifacts = [_find(bundle, precision) for precision in (Precision.FLOAT32, Precision.INT8)]
    if artifacts[1] is None:
        return None
    expected, got = (
        open_runner(bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs)
        for artifact in artifacts
        if artifact is not None
    )
    return worst_db((expected.run(batch), got.run(batch)) for batch in batches)
