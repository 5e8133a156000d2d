"""Measure int8 on networks that other people trained, on photographs that calibration did not see.

    .venv/bin/python -m benchmarks.int8_real_weights [NETWORK ...] [--effort 0 1 2] [--aimet PEER]
    .venv/bin/python -m benchmarks.int8_real_weights --ours   # other tools as the page has them

The networks and photographs are those of ``tests/realnets``, in the folder that
``EDGECONV_REALNETS`` names (``build/realnets``). Every other photograph is for calibration, the
rest are unseen. Each file of ours is a whole export, verified in both formats. The last row of ours
also leaves operators in float until 21 dB are reached on calibration samples
(``QuantizeOptions.repair_to``), which ``--min-sqnr 21`` does after trying everything else. Writes
``results/int8_real_weights.md``, where networks that were not asked for stay as they are. ONNX
Runtime's entropy and percentile keep all activations of all samples in memory: some 8 GB. PEER is
the Python of an environment with aimet-onnx, which then quantizes the same graphs at the same
places (``peers/aimet.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnxruntime.quantization import CalibrationMethod
from PIL import Image

from benchmarks.int8_held_out import db, peer_model, run
from benchmarks.measuring import RESULTS, machine, markdown_table, publish
from edgeconv.bundle import Bundle
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.quantize import fit
from edgeconv.units import format_percent

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from realnets.networks import NETWORKS

ROOT = Path(__file__).parent.parent
PACKAGES = Path(os.environ.get("EDGECONV_REALNETS", ROOT / "build" / "realnets"))
PAGE = "int8_real_weights"
OURS = "edgeconv, effort"
# What the goals for these networks ask for at the least.
LEAST_DB = 21
CALIBRATION, UNSEEN = 128, 240
METHODS = {
    "ONNX Runtime, min-max": CalibrationMethod.MinMax,
    "ONNX Runtime, entropy": CalibrationMethod.Entropy,
    "ONNX Runtime, percentile": CalibrationMethod.Percentile,
}
# What scikit-image has besides drawings, test patterns and pictures of one texture.
PHOTOGRAPHS = (
    *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "ihc.png"),
    *("hubble_deep_field.jpg", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
TEXTS = ("page.png", "text.png")
AIMET = {
    "min-max": "AIMET, min-max",
    "enhanced": "AIMET, enhanced ranges",
    "sequential-mse": "AIMET, sequential MSE",
}

Array = npt.NDArray[Any]
Crops = Callable[[tuple[int, int], list[Path]], Iterator[npt.NDArray[np.float32]]]


@dataclass(frozen=True)
class Task:
    """What one network is for.

    Attributes:
        name: The network's in ``tests/realnets``.
        size: Height and width of its input.
        normalize: From crops, [1, H, W, 3] in RGB from 0 to 255, to what it takes.
        kept: The share of the float network's answer that outputs keep, and what that is.
        figure: A word for that share.
        texts: Whether it reads lines of text.
    """

    name: str
    size: tuple[int, int]
    normalize: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    kept: Callable[[Array, Array], float]
    figure: str
    texts: bool = False


def as_torchvision(crop: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(((crop / np.float32(255) - mean) / std).transpose(0, 3, 1, 2))


def as_ocr(crop: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    scaled = (crop[..., ::-1] / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def same_class(expected: Array, got: Array) -> float:
    return float((expected.argmax(1) == got.argmax(1)).mean())


def overlap(expected: Array, got: Array) -> float:
    """Intersection over union of the pixels that are text, over all pictures."""
    a, b = expected > 0.3, got > 0.3
    return float((a & b).sum() / max((a | b).sum(), 1))


def same_text(expected: Array, got: Array) -> float:
    """The share of lines that read the same, with the best class of each step."""
    pairs = zip(expected.argmax(2), got.argmax(2), strict=True)
    return float(np.mean([_letters(a) == _letters(b) for a, b in pairs]))


def _letters(steps: Array) -> list[int]:
    return [
        int(a) for a, before in zip(steps, [0, *steps[:-1]], strict=True) if a not in (0, before)
    ]


TASKS = (
    Task("MobileNetV2", (224, 224), as_torchvision, same_class, "same class"),
    Task("EfficientNet-Lite0", (224, 224), as_torchvision, same_class, "same class"),
    Task("PP-OCRv6 detector", (224, 320), as_ocr, overlap, "IoU of text", texts=True),
    Task("PP-OCRv6 recognizer", (48, 160), as_ocr, same_text, "same text", texts=True),
)


def crops(size: tuple[int, int], files: Sequence[Path], count: int, *, seed: int) -> Iterator[Any]:
    """Random parts of pictures, [1, H, W, 3] in RGB from 0 to 255, scaled to one size."""
    rng = np.random.default_rng(seed)
    height, width = size
    for index in range(count):
        with Image.open(files[index % len(files)]) as picture:
            picture = picture.convert("RGB")
            # From what just holds the shorter side down to a third of it.
            scale = min(picture.width / width, picture.height / height) * rng.uniform(1 / 3, 1)
            w, h = int(width * scale), int(height * scale)
            left = int(rng.integers(0, picture.width - w + 1))
            top = int(rng.integers(0, picture.height - h + 1))
            part = picture.crop((left, top, left + w, top + h))
            yield np.asarray(part.resize((width, height), Image.Resampling.BILINEAR), np.float32)[
                None
            ]


def data(task: Task) -> tuple[list[Any], list[Any]]:
    """Inputs for calibration, and inputs from other pictures."""
    folder = PACKAGES / "skimage" / "data"
    found = [folder / name for name in PHOTOGRAPHS]
    found += sorted((PACKAGES / "foolbox" / "data").glob("imagenet_*.jpg"))
    halves = (found[::2], found[1::2])
    if task.texts:
        halves = ([folder / TEXTS[0]], [folder / TEXTS[1]])
    first, second = (
        [task.normalize(crop) for crop in crops(task.size, files, count, seed=count)]
        for files, count in zip(halves, (CALIBRATION, UNSEEN), strict=True)
    )
    return first, second


@dataclass(frozen=True)
class Exported:
    """An export of ours.

    Attributes:
        network: The float32 ``.onnx`` file.
        integers: The int8 ``.onnx`` file.
        in_float: How many operators are in float in it.
        seconds: The CPU seconds of the export.
    """

    network: ir.Model
    integers: ir.Model
    in_float: int
    seconds: float


def exported(task: Task, calibration: list[Any], options: QuantizeOptions) -> Exported:
    """Export in both formats and precisions."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "calibration.npz"
        np.savez(data, x=np.concatenate(calibration))
        start = time.process_time()
        bundle = _exported(task, Path(folder) / "out", calibration=data, quantization=options)
        seconds = time.process_time() - start
        assert len(bundle.manifest.artifacts) == 4
        left = max(len(artifact.float_fallback) for artifact in bundle.manifest.artifacts)
        return Exported(_loaded(bundle, "float32"), _loaded(bundle, "int8"), left, seconds)


def network_of(task: Task) -> ir.Model:
    """Our float32 ``.onnx`` file."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = _exported(task, Path(folder) / "out", precisions="float32", formats="onnx")
        return _loaded(bundle, "float32")


def _exported(task: Task, out: Path, **options: Any) -> Bundle:
    (network,) = (each for each in NETWORKS if each.name == task.name)
    file = PACKAGES / network.file
    model = file if network.network is None else network.network(file)
    return export(model, out=out, name="network", input_size=(3, *task.size), **options)


def _loaded(bundle: Bundle, precision: str) -> ir.Model:
    model = ir.load(bundle.path / f"network_{precision}.onnx")
    ir.external_data.load_to_model(model)
    return model


def ours(task: Task, efforts: Sequence[int]) -> Iterator[list[str]]:
    """A row for each effort, and one with operators in float."""
    calibration, unseen = data(task)
    ways = {f"{OURS} {effort}": QuantizeOptions(effort=effort) for effort in efforts}
    ways |= {f"{OURS} 1, {LEAST_DB} dB": QuantizeOptions(effort=1, repair_to=LEAST_DB)}
    expected = np.zeros(0)
    for title, options in ways.items():
        made = exported(task, calibration, options)
        expected = expected if expected.size else run(made.network, unseen)
        figures = _figures(task, expected, run(made.integers, unseen))
        yield [title, *figures, str(made.in_float), f"{made.seconds:.0f} s"]


def peers(task: Task, aimet: Path | None) -> Iterator[list[str]]:
    """A row for each method of other tools."""
    calibration, unseen = data(task)
    network = network_of(task)
    expected = run(network, unseen)
    for title, method in METHODS.items():
        start = time.process_time()
        integers = peer_model(network, calibration, method)
        seconds = time.process_time() - start
        yield [title, *_figures(task, expected, run(integers, unseen)), "", f"{seconds:.0f} s"]
    if aimet is not None:
        for title, got, seconds in by_aimet(network, calibration, unseen, aimet):
            yield [title, *_figures(task, expected, got), "", f"{seconds:.0f} s"]


def on_page(task: Task) -> list[list[str]]:
    """The rows of a network on the page as it is."""
    sections = (RESULTS / f"{PAGE}.md").read_text(encoding="utf-8").split("\n## ")[1:]
    (section,) = (each for each in sections if each.startswith(f"{task.name},"))
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def by_aimet(
    network: ir.Model, calibration: Sequence[Array], unseen: Sequence[Array], python: Path
) -> Iterator[tuple[str, Array, float]]:
    """For each method of AIMET: its title, its outputs for the unseen samples, and CPU seconds."""
    points, _ = fit(network, [[sample] for sample in calibration[:1]], QuantizeOptions(effort=0))
    weights = [
        str(node.inputs[1].name)
        for node in points.model.graph
        if str(node.outputs[0].name) in points.weights
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ir.save(points.model, folder / "network.onnx")
        (folder / "points.json").write_text(json.dumps([sorted(points.activations), weights]))
        np.save(folder / "calibration.npy", np.concatenate(calibration))
        np.save(folder / "unseen.npy", np.concatenate(unseen))
        script = ROOT / "benchmarks" / "peers" / "aimet.py"
        own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [python, script, folder, *AIMET]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=own)
        for method, title in AIMET.items():
            seconds = float((folder / f"{method}.seconds").read_text())
            yield title, np.load(folder / f"{method}.npy"), seconds


def _figures(task: Task, expected: Array, got: Array) -> list[str]:
    return [format_percent(task.kept(expected, got), places=1), f"{db(expected, got):.1f} dB"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[task.name for task in TASKS])
    parser.add_argument("--effort", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--aimet", type=Path, metavar="PEER")
    parser.add_argument("--ours", action="store_true", help="Keep the rows of other tools.")
    arguments = parser.parse_args()
    lines = []
    for task in TASKS:
        rows = on_page(task)
        if task.name in arguments.networks:
            others = [row for row in rows if not row[0].startswith(OURS)]
            rows = []
            for row in ours(task, arguments.effort):
                rows.append(row)
                sys.stderr.write(" | ".join([task.name, *row]) + "\n")
            rows += others if arguments.ours else peers(task, arguments.aimet)
        height, width = task.size
        lines += ["", f"## {task.name}, {height}x{width}", ""]
        lines += markdown_table(["int8 by", task.figure, "SQNR", "in float", "CPU time"], rows)
    publish(
        PAGE,
        [
            "# int8 of trained networks on photographs that calibration did not see",
            "",
            f"{CALIBRATION} crops calibrate, and {UNSEEN} crops of other pictures are compared",
            "with the float network. Time is of the processor: for ours that of the whole export,",
            "both formats and their verification included, for ONNX Runtime that of its quantizer.",
            f"The row with {LEAST_DB} dB leaves operators in float until calibration samples have",
            "that much; the column counts all operators in float of our files.",
            "The networks that read text are calibrated on one picture and compared on another,",
            "since there are two: they show what that costs, not what a fair sample would keep.",
            "Layer reconstruction (effort 2) was developed on MobileNetV2 and EfficientNet-Lite0.",
            *(["The rows of other tools are of an earlier run."] if arguments.ours else []),
            machine("edgeconv", "onnxruntime"),
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
