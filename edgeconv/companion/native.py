"""Write ``run.cc`` and what it needs: ``run.py`` in C++, for the TFLite files of a bundle.

Names may come from a stranger's file; in C++ they are string literals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeconv.bundle import (
    BUILD_NAME,
    LABELS_NAME,
    NATIVE_NAME,
    NATIVE_PICTURES_NAME,
    NATIVE_RUNTIME_NAME,
    Artifact,
    Format,
    Layout,
    Manifest,
    OutputKind,
    Shown,
    TensorInfo,
)
from edgeconv.companion.network import (
    Tensor,
    boxes_order,
    classes_axis,
    file_tensors,
    image_input,
    shown,
)
from edgeconv.companion.template import c_literal, rendered

# LiteRT changes the functions of its C API between releases, and its wheel has no headers: run.cc
# declares them as these releases have them.
LOWEST_LITERT, BEYOND_LITERT = "2.3", "2.4"
_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "bool": "bool",
}


def native_files(manifest: Manifest) -> list[Artifact]:
    """The files that ``run.cc`` can run: TFLite files of known sizes, of a network of one image."""
    if image_input(manifest) is None:
        return []
    return [artifact for artifact in manifest.artifacts if _is_native(artifact)]


def _is_native(artifact: Artifact) -> bool:
    infos = (*artifact.inputs, *artifact.outputs)
    return artifact.format is Format.TFLITE and all(
        info.dtype in _TYPES and min(info.shape, default=1) > 0 for info in infos
    )


def native_sources(manifest: Manifest) -> dict[str, str] | None:
    """The texts of ``run.cc`` and what it needs, by name; None where no file can be run so."""
    image, artifacts, task = image_input(manifest), native_files(manifest), shown(manifest)
    if image is None or not artifacts:
        return None
    means, stds = (
        [f"{each!r}f" for each in (values if len(values) == image.channels else values[:1] * 3)]
        for values in (image.how.mean, image.how.std)
    )
    taken = [info for artifact in artifacts for info in artifact.inputs]
    given = [info for artifact in artifacts for info in artifact.outputs]
    types = _types([*taken, *given])
    files = [file_tensors(artifact, manifest) for artifact in artifacts]
    outputs = [tensor for _, _, side in files for tensor in side]
    values = {
        "model": manifest.model,
        "version": manifest.edgeconv_version,
        "image": image,
        "task": task.value,
        "ranked": manifest.output is OutputKind.TOP5,
        "files": [_file(artifact, manifest) for artifact in artifacts],
        "labels": bool(manifest.labels),
        "labels_name": LABELS_NAME,
        "means": means,
        "stds": stds,
        "types": types,
        "sizes": [f"sizeof({type})" for _, type in types],
        "taken": _types(taken),
        "given": _types(given),
        "scaled": any(info.zero_point is not None for info in (*taken, *given)),
        "moved": any(moved for _, _, moved, _, _ in outputs),
        "mask": _mask(manifest) if task is Shown.MASK else None,
        "order": boxes_order(manifest),
        "lowest": LOWEST_LITERT,
        "beyond": BEYOND_LITERT,
    }
    names = (NATIVE_NAME, NATIVE_PICTURES_NAME, NATIVE_RUNTIME_NAME, BUILD_NAME)
    return {name: rendered(f"{name}.jinja", values) for name in names}


def _types(infos: Sequence[TensorInfo]) -> list[tuple[str, str]]:
    """The types of some tensors, as run.cc calls them and as C++ does."""
    used = {info.dtype for info in infos}
    return [(f"k{name.capitalize()}", type) for name, type in _TYPES.items() if name in used]


def _file(artifact: Artifact, manifest: Manifest) -> dict[str, Any]:
    name, inputs, outputs = file_tensors(artifact, manifest)
    shapes = [[info.shape for info in infos] for infos in (artifact.inputs, artifact.outputs)]
    return {
        "name": name,
        "input": _tensor(inputs[0], shapes[0][0]),
        "outputs": [_tensor(*each) for each in zip(outputs, shapes[1], strict=True)],
    }


def _tensor(tensor: Tensor, shape: tuple[int, ...]) -> str:
    name, dtype, moved, scale, zero = tensor
    sizes = ", ".join(map(str, shape))
    real = f"{0.0 if scale is None else scale!r}f"
    type = f"k{dtype.capitalize()}"
    names = f"{c_literal(name)}, {c_literal(repr(name))}"
    return f"{{{names}, {type}, {str(moved).lower()}, {real}, {zero}, {{{sizes}}}}}"


def _mask(manifest: Manifest) -> dict[str, Any]:
    """Width, height and number of classes (None for a map of classes) of the first output."""
    output = manifest.outputs[0]
    last = output.layout is Layout.NHWC
    if classes_axis(manifest) is None:
        height, width = output.shape[-2:]
        return {"width": width, "height": height, "classes": None, "last": False}
    _, *sides = output.shape
    classes = sides.pop(2 if last else 0)
    return {"width": sides[1], "height": sides[0], "classes": classes, "last": last}
