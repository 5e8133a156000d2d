"""Measure int8 on networks that other people trained, on pictures that calibration did not see.

    .venv/bin/python -m benchmarks.int8_real_weights [NETWORK ...] [--effort 0 1 2 3] [--aimet PEER]
    .venv/bin/python -m benchmarks.int8_real_weights --ours   # other tools as the page has them

AIMET's rows stay as the page has them where ``--aimet`` is not given.

The networks and pictures are those of ``benchmarks.real_networks``. Each file of ours is a whole
export, verified in both formats. The last row of ours also leaves operators in float until
calibration samples and those that verify have 21 dB (``QuantizeOptions.repair_to``), which
``--min-sqnr 21`` does after trying everything else. ai-edge-quantizer gets our float32 file; it has
to be installed unless ``--ours`` is given. Writes ``results/int8_real_weights.md``, where networks
that were not asked for stay as they are. PEER is the Python of an environment with aimet-onnx,
which then quantizes the same graphs at the same places (``peers/aimet.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxruntime.quantization import CalibrationMethod

from benchmarks.int8_held_out import db, peer_model, run
from benchmarks.measuring import RESULTS, machine, markdown_table, publish
from benchmarks.real_networks import CALIBRATION, ROOT, TASKS, Array, Samples, Task, data
from edgeconv.bundle import Bundle
from edgeconv.errors import EdgeconvError
from edgeconv.export import QuantizeOptions, export
from edgeconv.export.quantize import fit
from edgeconv.export.tflite import lower
from edgeconv.units import format_percent

PAGE = "int8_real_weights"
OURS = "edgeconv, effort"
# What the goals for these networks ask for at the least.
LEAST_DB = 21
METHODS = {
    "ONNX Runtime, min-max": CalibrationMethod.MinMax,
    "ONNX Runtime, entropy": CalibrationMethod.Entropy,
    "ONNX Runtime, percentile": CalibrationMethod.Percentile,
}
AIMET = {
    "min-max": "AIMET, min-max",
    "enhanced": "AIMET, enhanced ranges",
    "sequential-mse": "AIMET, sequential MSE",
}


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
    build = task.network.network
    model = task.file if build is None else build(task.file)
    return export(model, out=out, name="network", input_size=(3, *task.size), **options)


def _loaded(bundle: Bundle, precision: str) -> ir.Model:
    model = ir.load(bundle.path / f"network_{precision}.onnx")
    ir.external_data.load_to_model(model)
    return model


def ours(task: Task, efforts: Sequence[int]) -> Iterator[list[str]]:
    """A row for each effort, and beside that of effort 1 one with operators in float."""
    samples = data(task)
    ways = {f"{OURS} {effort}": QuantizeOptions(effort=effort) for effort in efforts}
    if 1 in efforts:
        ways |= {f"{OURS} 1, {LEAST_DB} dB": QuantizeOptions(effort=1, repair_to=LEAST_DB)}
    expected = np.zeros(0)
    for title, options in ways.items():
        try:
            made = exported(task, samples.calibration, options)
        except EdgeconvError as error:  # the target is not reached
            sys.stderr.write(f"{title}: {error}\n")
            cells = len(kept_figures(task, samples, expected, expected))
            yield [title, *["refused"] * cells, "", ""]
            continue
        expected = expected if expected.size else run(made.network, samples.unseen)
        figures = kept_figures(task, samples, expected, run(made.integers, samples.unseen))
        yield [title, *figures, str(made.in_float), f"{made.seconds:.0f} s"]


def peers(task: Task, aimet: Path | None) -> Iterator[list[str]]:
    """A row for each method of other tools."""
    samples = data(task)
    network = network_of(task)
    expected = run(network, samples.unseen)
    for title, got, seconds in _by_peers(network, samples, aimet):
        yield [title, *kept_figures(task, samples, expected, got), "", f"{seconds:.0f} s"]


def _by_peers(
    network: ir.Model, samples: Samples, aimet: Path | None
) -> Iterator[tuple[str, Array, float]]:
    """For each method of other tools: its title, its outputs for unseen samples, CPU seconds."""
    for title, method in METHODS.items():
        start = time.process_time()
        integers = peer_model(network, samples.calibration, method)
        seconds = time.process_time() - start
        yield title, run(integers, samples.unseen), seconds
    yield from by_ai_edge(network, samples)
    if aimet is not None:
        yield from by_aimet(network, samples.calibration, samples.unseen, aimet)


def by_ai_edge(network: ir.Model, samples: Samples) -> Iterator[tuple[str, Array, float]]:
    """For both ranges of ai-edge-quantizer: a title, its outputs, and CPU seconds."""
    from benchmarks.peers.ai_edge import quantize_default, quantize_min_max
    from benchmarks.peers.held_out import channels_last, run_tflite

    ways = {
        "ai-edge-quantizer": quantize_default,
        "ai-edge-quantizer, min-max": quantize_min_max,
    }
    calibration = [channels_last(sample) for sample in samples.calibration]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.tflite", Path(folder) / "int8.tflite"
        source.write_bytes(lower(network).data)
        for title, quantizer in ways.items():
            start = time.process_time()
            try:
                quantizer(source, calibration, target)
            except Exception as error:  # it has no error of its own
                sys.stderr.write(f"{title}: {type(error).__name__}: {error}\n")
                continue
            seconds = time.process_time() - start
            got = run_tflite(target, samples.unseen)
            if got.ndim == 4:
                got = got.transpose(0, 3, 1, 2)
            yield title, got, seconds


def on_page(task: Task) -> list[str]:
    """The lines of a network's section on the page as it is, below its title."""
    sections = (RESULTS / f"{PAGE}.md").read_text(encoding="utf-8").split("\n## ")[1:]
    (section,) = (each for each in sections if each.startswith(f"{task.name},"))
    return section.splitlines()[2:]


def rows_of(section: Sequence[str]) -> list[list[str]]:
    """The rows of its table."""
    lines = [line for line in section if line.startswith("| ")][2:]
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


def kept_figures(task: Task, samples: Samples, expected: Array, got: Array) -> list[str]:
    """What is kept and the SQNR; of text for real pictures apart from rendered ones."""
    parts = [slice(None)]
    if samples.rendered:
        parts = [slice(0, samples.rendered), slice(samples.rendered, None)]
    return [
        cell
        for part in parts
        for cell in (
            format_percent(task.kept(expected[part], got[part]), places=1),
            f"{db(expected[part], got[part]):.1f} dB",
        )
    ]


def section(
    task: Task, efforts: Sequence[int], aimet: Path | None, *, ours_only: bool
) -> list[str]:
    """What the page says of a network, below its title."""
    rows = []
    before = rows_of(on_page(task))
    for row in ours(task, efforts):
        rows.append(row)
        sys.stderr.write(" | ".join([task.name, *row]) + "\n")
    for row in () if ours_only else peers(task, aimet):
        rows.append(row)
        sys.stderr.write(" | ".join([task.name, *row]) + "\n")
    if ours_only:
        measured = [row[0] for row in rows]
        kept = [row for row in before if row[0] not in measured]
        rows = sorted(rows + [row for row in kept if row[0].startswith(OURS)])
        rows += [row for row in kept if not row[0].startswith(OURS)]
    elif aimet is None:
        rows += [row for row in before if row[0] in AIMET.values()]
    figures, about = [task.figure, "SQNR"], []
    if task.text is not None:
        figures = [f"{task.figure}, rendered", "SQNR", f"{task.figure}, real", "SQNR"]
        samples = data(task)
        about = [task.text.right(run(network_of(task), samples.unseen), samples), ""]
    header = ["int8 by", *figures, "in float", "CPU time"]
    return [*about, *markdown_table(header, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[task.name for task in TASKS])
    parser.add_argument("--effort", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--aimet", type=Path, metavar="PEER")
    parser.add_argument(
        "--ours", action="store_true", help="Keep the rows of other tools and of other efforts."
    )
    arguments = parser.parse_args()
    earlier = "other tools" if arguments.ours else "" if arguments.aimet else "AIMET"
    lines = []
    for task in TASKS:
        below = (
            section(task, arguments.effort, arguments.aimet, ours_only=arguments.ours)
            if task.name in arguments.networks
            else on_page(task)
        )
        height, width = task.size
        lines += ["", f"## {task.name}, {height}x{width}, {task.unseen:,} samples", "", *below]
    publish(
        PAGE,
        [
            "# int8 of trained networks on pictures that calibration did not see",
            "",
            f"{CALIBRATION} samples calibrate, and others, of other pictures, are compared with",
            "the float network: crops of photographs, or for the networks that find and read text,",
            "words rendered on photographs. These are calibrated on rendered words alone. Their",
            "unseen samples have other words, typefaces, sizes and photographs; half of them are",
            "crops of two real pictures of text, or words of a scanned page.",
            "Time is of the processor: for ours that of the whole export, both formats and their",
            "verification included, for other tools that of the quantizer.",
            "ONNX Runtime's entropy and percentile count the values of 16 samples at a time.",
            "A method without a row was not measured on that network.",
            f"The row with {LEAST_DB} dB leaves operators in float until calibration samples and",
            "those that verify have that much; the column counts all operators in float of our",
            "files.",
            "Layer reconstruction (effort 2) was developed on MobileNetV2 and EfficientNet-Lite0.",
            *([f"The rows of {earlier} are of an earlier run."] if earlier else []),
            machine("edgeconv", "onnxruntime", *([] if arguments.ours else ["ai-edge-quantizer"])),
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
