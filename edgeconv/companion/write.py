"""Write ``run.py``, ``run.cc``, ``README.md`` and what belongs to them into a bundle.

Names and labels may come from a stranger's file. In ``run.py`` they are literals of Python, and in
``README.md`` text without markup; nothing of them is ever code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeconv.bundle import (
    LABELS_NAME,
    PICTURES_NAME,
    README_NAME,
    RUN_NAME,
    RUNTIME_NAME,
    Format,
    Manifest,
    OutputKind,
)
from edgeconv.companion.card import card_values
from edgeconv.companion.native import native_sources
from edgeconv.companion.network import (
    boxes_order,
    classes_axis,
    file_tensors,
    image_input,
    input_values,
    shown,
)
from edgeconv.companion.template import rendered
from edgeconv.limits import IMAGE_PIXELS, UNPACKED_BYTES
from edgeconv.printable import printable

_PACKAGES = {
    Format.TFLITE: ("ai-edge-litert", "tflite-runtime"),
    Format.ONNX: ("onnxruntime",),
}


def write_companions(folder: Path, manifest: Manifest) -> None:
    """Write the files into the folder of a bundle."""
    values = _values(manifest, None)
    texts = {
        RUN_NAME: rendered("run.py.jinja", {**values, "whole": False}),
        RUNTIME_NAME: rendered("runtime.py.jinja", values),
        README_NAME: rendered("README.md.jinja", card_values(manifest)),
    }
    if values["image"] is not None:
        texts[PICTURES_NAME] = rendered("pictures.py.jinja", {**values, "whole": False})
    if values["labels"]:
        texts[LABELS_NAME] = "".join(f"{label}\n" for label in values["labels"])
    if (sources := native_sources(manifest)) is not None:
        texts |= sources
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")


def run_script(manifest: Manifest, folder: Path | None = None) -> str:
    """``run.py`` with the labels and all else that it has beside it in a bundle, as one text.

    Args:
        manifest: Describes the network and its files.
        folder: Where the files are; by default beside the script.

    Raises:
        UsageError: The environment variable of a limit is not a whole number.
    """
    limits = {"most_pixels": IMAGE_PIXELS.value, "most_bytes": UNPACKED_BYTES.value}
    return rendered("run.py.jinja", {**_values(manifest, folder), **limits, "whole": True})


def _values(manifest: Manifest, folder: Path | None) -> dict[str, Any]:
    image = image_input(manifest)
    tensors = [file_tensors(artifact, manifest) for artifact in manifest.artifacts]
    quantized = any(each[3] is not None for file in tensors for each in (*file[1], *file[2]))
    fields = None if quantized else 3  # no scales are needed
    files = [(name, *([each[:fields] for each in side] for side in s)) for name, *s in tensors]
    formats = {artifact.format for artifact in manifest.artifacts}
    return {
        "model": manifest.model,
        "version": manifest.edgeconv_version,
        "folder": None if folder is None else str(folder),
        "image": image,
        "task": shown(manifest).value,
        "ranked": manifest.output is OutputKind.TOP5,
        "files": files,
        "formats": {format.value for format in formats},
        "packages": " or ".join(n for f, names in _PACKAGES.items() if f in formats for n in names),
        "quantized": quantized,
        "open": image is None and any(-1 in info.shape for info in manifest.inputs),
        "labels": None if not manifest.labels else [printable(each) for each in manifest.labels],
        "labels_name": LABELS_NAME,
        "most_pixels": IMAGE_PIXELS.default,
        "most_bytes": UNPACKED_BYTES.default,
        "sampled": image is not None and image.sampled,
        "inputs": input_values(manifest),
        "order": boxes_order(manifest),
        "classes_axis": classes_axis(manifest),
    }
