"""What the manifest of an export says."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

import edgeconv
from edgeconv.bundle import (
    Artifact,
    Calibration,
    LayerPrecision,
    Manifest,
)
from edgeconv.companion.network import guessed
from edgeconv.export.capture.source import Source
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.dynamic_batch import with_open_batch
from edgeconv.export.file_description import FileDescription
from edgeconv.export.prepare import Prepared
from edgeconv.export.quantize import QuantizedModel
from edgeconv.export.tensor_info import input_infos, output_infos, tool_versions, weights_sha256
from edgeconv.export.verify.expected import Reference


def begun_manifest(prepared: Prepared, source: Source) -> Manifest:
    """The manifest, without what is found out while the files are written."""
    asked, head, labels = prepared.request.asked, prepared.head, prepared.labels
    graph = prepared.graph
    described = with_open_batch(graph) if asked.dynamic_batch else graph
    manifest = Manifest(
        edgeconv_version=edgeconv.__version__,
        model=source.spec,
        model_args={
            name: value if value is None or isinstance(value, (str, int, float)) else list(value)
            for name, value in source.args.items()
        },
        weights_sha256=weights_sha256(graph),
        inputs=input_infos(described),
        outputs=output_infos(described),
        reference=prepared.itself.runtime,
        preprocessing=prepared.preprocessing,
        labels=None if labels is None else tuple(labels),
        calibration=None,
        artifacts=(),
        reference_sha256="",
        tools=tool_versions(),
        target=asked.target,
        output=asked.output,
        classes=None if head is None else head.classes,
        about=dict(asked.about or {}),
    )
    return manifest.model_copy(update={"provenance_sha256": manifest.provenance()})


def description(manifest: Manifest) -> FileDescription:
    """What every file says of itself."""
    return FileDescription(
        name=manifest.model,
        version=manifest.edgeconv_version,
        provenance_sha256=manifest.provenance(),
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        preprocessing=manifest.preprocessing,
        labels=manifest.labels or (),
        about=manifest.about,
    )


def finished_manifest(
    begun: Manifest,
    graph: ir.Model,
    artifacts: Sequence[Artifact],
    calibration: Calibration | None,
    reference: Reference,
    reference_sha256: str,
) -> Manifest:
    """The manifest with what was found out.

    Args:
        begun: The manifest without.
        graph: The float graph.
        artifacts: The files that are right.
        calibration: What int8 was calibrated on.
        reference: What the files were held against.
        reference_sha256: The hash of its file.
    """
    joined = zip(output_infos(graph), reference.joined, strict=True)
    manifest = begun.model_copy(
        update={
            "calibration": calibration,
            "artifacts": tuple(artifacts),
            "joined": {info.name: parts.names for info, parts in joined if parts is not None},
            "reference_sha256": reference_sha256,
        }
    )
    return manifest.model_copy(update={"task": guessed(manifest)})


def calibration_of(quantized: QuantizedModel | None, batches: SampleBatches) -> Calibration | None:
    """What int8 was calibrated on, and what was tried for it; None if nothing was calibrated."""
    if quantized is None or quantized.range_method is None:
        return None
    steps = [step.record() for step in quantized.improvements]
    record = batches.record(quantized.range_method.value, steps)
    return record.model_copy(update={"layers": _layers(quantized)})


def _layers(quantized: QuantizedModel) -> tuple[LayerPrecision, ...]:
    return tuple(
        LayerPrecision(
            name=rule.name,
            precision=rule.precision.value,
            weights=rule.weights.value,
            activations=rule.activations.value,
            nodes=nodes,
        )
        for rule, nodes in quantized.layers
    )
