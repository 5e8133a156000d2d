"""The values of a bundle's ``README.md``: its model card."""

from __future__ import annotations

from typing import Any

from edgeconv.bundle import Artifact, Calibration, Manifest, Shown, TensorInfo
from edgeconv.companion.native import native_files
from edgeconv.companion.network import image_input, shown
from edgeconv.metrics import EQUAL_DB
from edgeconv.preprocessing import Color, Fit, Preprocessing
from edgeconv.units import format_bytes, format_percent, format_samples, significant

_SHOWN = {
    Shown.CLASSES: "prints the classes with the highest scores",
    Shown.LABEL: "prints the class with the highest score",
    Shown.MASK: "writes the class of each pixel into `mask.png`",
    Shown.BOXES: "draws the boxes into `boxes.png`",
    Shown.OUTPUTS: "prints the outputs; `--out outputs.npz` writes them",
}
_LABELS = 10


def card_values(manifest: Manifest) -> dict[str, Any]:
    """What the template shows, in words and with units."""
    image = image_input(manifest)
    labels = manifest.labels or ()
    return {
        "manifest": manifest,
        "image": image is not None,
        "native": bool(native_files(manifest)),
        "shown": _SHOWN[shown(manifest)],
        "inputs": [_tensor(info) for info in manifest.inputs],
        "outputs": [_tensor(info) for info in manifest.outputs],
        "preprocessing": [] if image is None else _preprocessing(image.how, manifest),
        "labels": labels[:_LABELS],
        "more_labels": max(len(labels) - _LABELS, 0),
        "files": [_file(artifact) for artifact in manifest.artifacts],
        "facts": _facts(manifest),
    }


def _tensor(info: TensorInfo) -> tuple[str, str, str, str]:
    shape = " × ".join("any" if size < 0 else str(size) for size in info.shape) or "scalar"
    layout = "" if info.layout is None else info.layout.name
    return info.name, shape, info.dtype, layout


def _preprocessing(how: Preprocessing, manifest: Manifest) -> list[str]:
    """The steps from a picture to the input, a sentence each."""
    info = manifest.inputs[0]
    steps = ["Turn it as its EXIF orientation says."] if how.exif_rotation else []
    steps.append(f"Lay transparent pixels on the color {_color(how.background)}.")
    averaging = "" if how.antialias else ", without averaging the pixels left out"
    how_resized = f"{how.interpolation.value}{averaging}"
    if how.fit is Fit.LETTERBOX:
        steps.append(
            f"Resize it ({how_resized}) until it fits into the input, and center it on the color "
            f"{_color(how.padding)}."
        )
    else:
        to = "until it covers the input"
        if how.resize is not None:
            to = f"until its shorter side has {how.resize} pixels"
        if how.crop is not None:
            to = f"until the crop of {format_percent(how.crop)} of its sides covers the input"
        kept = " without keeping its aspect ratio" if how.fit is Fit.SQUASH else ""
        steps.append(f"Resize it ({how_resized}){kept} {to}, and crop the center.")
    channels = "gray" if how.color is Color.GRAY else "red, green and blue"
    if how.color is Color.GRAY and 3 in (info.shape[1], info.shape[-1]):
        channels = "gray in each of three channels"
    if how.inside:
        steps.append(
            f"Give its bytes, {channels}, as numbers from 0 to 255. Scale, mean and standard "
            "deviation are inside the files."
        )
        return steps
    if how.color is Color.BGR:
        channels = "blue, green and red"
    steps.append(f"Channels: {channels}.")
    if info.dtype == "float32":
        mean, std = (" ".join(f"{each:g}" for each in side) for side in (how.mean, how.std))
        stated = " (assumed, not stated)" if how.assumed else ""
        steps.append(
            f"Scale the bytes to [0, 1], subtract the mean {mean} and divide by the standard "
            f"deviation {std}{stated}."
        )
    return steps


def _color(color: tuple[int, int, int]) -> str:
    return "rgb({}, {}, {})".format(*color)


def _file(artifact: Artifact) -> tuple[str, ...]:
    figures = artifact.verification
    agreement = None if figures is None else figures.argmax_agreement
    return (
        artifact.path,
        artifact.precision.value,
        format_bytes(artifact.bytes),
        "not verified" if figures is None else _decibels(figures.sqnr_db),
        "–" if figures is None else f"{100 * figures.max_error:.2g}%",
        "–" if agreement is None else format_percent(agreement),
        artifact.lowest_runtime,
    )


def _decibels(value: float) -> str:
    return "equal" if value >= EQUAL_DB else f"{significant(value)} dB"


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    arguments = ", ".join(f"{key}={value}" for key, value in manifest.model_args.items())
    facts = [("network", f"{manifest.model}({arguments})" if arguments else manifest.model)]
    facts.append(("SHA-256 of the weights", manifest.weights_sha256))
    if manifest.calibration is not None:
        facts.append(("calibration", _calibration(manifest.calibration)))
    if manifest.target is not None:
        facts.append(("made for", f"{manifest.target.device} ({manifest.target.architecture})"))
    tools = ", ".join(f"{name} {version}" for name, version in manifest.tools.items())
    facts.append(("made by", f"edgeconv {manifest.edgeconv_version} with {tools}"))
    return facts


def _calibration(found: Calibration) -> str:
    source = "synthetic inputs" if found.synthetic else found.source
    samples = format_samples(found.samples)
    return f"{samples} of {source}, {found.method} ranges, SHA-256 {found.sha256}"
