"""Manifests of networks that were not exported, for what reads only their interface."""

from __future__ import annotations

from typing import Any

from edgeconv.bundle import Artifact, Format, Manifest, Precision, TensorInfo
from edgeconv.preprocessing import Preprocessing

# Names that a careless reader takes for code, for a template, or for orders to a terminal.
HOSTILE_NAMES = (
    "plain",
    "'; import os; os.abort() #",
    '"""\n{{ 7 * 7 }}{% raw %}',
    "\x1b[2J\u202eevil\r\n| <script>",
    "\\N{BULLET} %s %(prog)s ø 猫",
)


def made_manifest(
    inputs: tuple[int, ...],
    *outputs: tuple[int, ...],
    dtype: str = "float32",
    preprocessing: Preprocessing | None = None,
    labels: tuple[str, ...] | None = None,
) -> Manifest:
    """A manifest with one input ``x``, and outputs ``y0``, ``y1`` … of a dtype."""
    return Manifest(
        edgeconv_version="0",
        model="made",
        model_args={},
        weights_sha256="0" * 64,
        inputs=(TensorInfo(name="x", shape=inputs, dtype="float32"),),
        outputs=tuple(
            TensorInfo(name=f"y{index}", shape=shape, dtype=dtype)
            for index, shape in enumerate(outputs)
        ),
        reference="pytorch",
        preprocessing=preprocessing,
        labels=labels,
        calibration=None,
        artifacts=(),
        reference_sha256="0" * 64,
        tools={},
    )


def made_artifact(path: str, format: Format, precision: Precision, **changes: Any) -> Artifact:
    """A file of a manifest, of which little is known; ``changes`` are fields that a test reads."""
    plain = Artifact(
        path=path,
        format=format,
        precision=precision,
        bytes=1,
        sha256="",
        opset=None,
        operators={},
        lowest_runtime="",
        inputs=(),
        outputs=(),
        float_fallback=(),
        verification=None,
    )
    return plain.model_copy(update=changes)
