"""Measure the accuracy of int8 against float on held-out data.

    .venv/bin/python -m benchmarks.trained.accuracy [--folder FOLDER] [--only NAME …] [--again]

The networks are those that benchmarks.trained.train trained, and four of them once more after
changes that make them hard to quantize. FOLDER/accuracy.json keeps what was measured: the next run
measures only what is missing, and the report always covers everything.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from torch import nn

from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.trained.adversarial import ATTACKS, heavy_tail
from benchmarks.trained.fit import Labeled, score
from benchmarks.trained.folder import Metric, Trained, default_folder, read_data, read_index
from edgeconv.bundle import Artifact, Bundle, Format, Precision
from edgeconv.export import QuantizeOptions, RangeMethod, export
from edgeconv.export.runtimes import open_runner
from edgeconv.export.verify.reference import load_reference
from edgeconv.metrics import sqnr_db

Array = npt.NDArray[Any]

# What other tools do by default: min-max ranges, and no accuracy passes.
MIN_MAX = QuantizeOptions(
    range_method=RangeMethod.MINMAX,
    equalization=False,
    bias_absorption=False,
    bias_correction=False,
)
# Networks with a Relu or nothing between convolutions: rescaling channels keeps their function.
SPOILED = ("mobilenet_v1_digits", "resnet8_digits", "mobilenet_v1_shapes", "resnet8_shapes")
HEAVY_TAIL = "heavy-tailed inputs"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Figures of one output of a network.

    The scores are top-1 or mean IoU. The last three fields compare the two int8 files with each
    other and with float.
    """

    name: str
    metric: str
    samples: int
    float_score: float
    onnx_score: float
    tflite_score: float
    same_argmax: float
    within_one_step: float
    sqnr_db: float


@dataclass(frozen=True)
class Spoiled:
    """Scores of an attacked network: float, plain min-max int8, int8 with the default options."""

    name: str
    attack: str
    float_score: float
    plain_score: float
    default_score: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--only", nargs="+", help="names of networks")
    parser.add_argument("--again", action="store_true", help="measure known networks again")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    folder, path = arguments.folder, arguments.folder / "accuracy.json"
    known = _read(path)
    networks = read_index(folder)
    for trained in networks:
        if arguments.only and trained.name not in arguments.only:
            continue
        jobs = {trained.name: lambda t=trained: [asdict(r) for r in results(t, folder)]}
        if trained.name in SPOILED:
            jobs[f"{trained.name} spoiled"] = lambda t=trained: [
                asdict(r) for r in spoiled(t, folder)
            ]
        for key, job in jobs.items():
            if key not in known or arguments.again:
                measured = job()
                known = {**_read(path), key: measured}  # another process may have added to it
                path.write_text(json.dumps(known, indent=2))
                logger.info("%s: measured", key)
    publish("accuracy", report(networks, known))


def _read(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return known


def results(trained: Trained, folder: Path) -> list[Result]:
    """Export and measure a network; one result for each output."""
    data = read_data(folder / trained.evaluation)
    with tempfile.TemporaryDirectory() as out:
        bundle = _export(
            trained.network(folder),
            folder / trained.calibration,
            data,
            Path(out),
            QuantizeOptions(),
        )
        steps = load_reference(bundle).quantized[Precision.INT8].steps
        outputs = {_key(a): _run(bundle, a, data.x) for a in bundle.manifest.artifacts}
    found = []
    for index, info in enumerate(bundle.manifest.outputs):
        reference, integer, lite = (
            outputs[key][index]
            for key in (
                (Format.ONNX, Precision.FLOAT32),
                (Format.ONNX, Precision.INT8),
                (Format.TFLITE, Precision.INT8),
            )
        )
        step = steps[index]
        within = 1.0 if step is None else np.mean(np.abs(integer - lite) <= step * 1.01)
        several = len(bundle.manifest.outputs) > 1
        found.append(
            Result(
                name=f"{trained.name} {info.name}" if several else trained.name,
                metric=trained.metric.value,
                samples=len(data.y),
                float_score=score(reference, data.y),
                onnx_score=score(integer, data.y),
                tflite_score=score(lite, data.y),
                same_argmax=float(np.mean(integer.argmax(1) == lite.argmax(1))),
                within_one_step=float(within),
                sqnr_db=sqnr_db(reference, lite),
            )
        )
    return found


def spoiled(trained: Trained, folder: Path) -> list[Spoiled]:
    """Attack and measure a network; one result for each attack.

    int8 is measured on the ONNX file, because the TFLite file has the same integers.
    """
    data = read_data(folder / trained.evaluation)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        network = trained.network(folder)
        whole = export(network, out=out / "float", input_size=data.x.shape[1:])
        graph = ir.load(whole.path / whole.manifest.artifacts[0].path)
        for attack, change in ATTACKS.items():
            file = out / "attacked.onnx"
            ir.save(change(graph), file)
            scores = _spoiled_scores(file, folder / trained.calibration, data, out)
            found.append(Spoiled(trained.name, attack, *scores))
        tailed = Labeled(heavy_tail(data.x, seed=1), data.y)
        calibration = out / "calibration.npz"
        np.savez(calibration, x=heavy_tail(read_data(folder / trained.calibration).x))
        scores = _spoiled_scores(network, calibration, tailed, out)
        found.append(Spoiled(trained.name, HEAVY_TAIL, *scores))
    return found


def _spoiled_scores(
    model: nn.Module | Path, calibration: Path, data: Labeled, out: Path
) -> tuple[float, float, float]:
    scores: dict[tuple[Precision, bool], float] = {}
    for plain, options in ((True, MIN_MAX), (False, QuantizeOptions())):
        bundle = _export(model, calibration, data, out, options, formats=(Format.ONNX,))
        for artifact in bundle.manifest.artifacts:
            scores[artifact.precision, plain] = score(_run(bundle, artifact, data.x)[0], data.y)
    return (
        scores[Precision.FLOAT32, True],
        scores[Precision.INT8, True],
        scores[Precision.INT8, False],
    )


def _export(
    model: nn.Module | Path,
    calibration: Path,
    data: Labeled,
    out: Path,
    options: QuantizeOptions,
    formats: tuple[Format, ...] = (Format.ONNX, Format.TFLITE),
) -> Bundle:
    return export(
        model,
        out=out / "bundle",
        formats=formats,
        precisions=(Precision.FLOAT32, Precision.INT8),
        calibration=calibration,
        input_size=data.x.shape[1:],
        quantization=options,
        force=True,
        verify=False,
    )


def _key(artifact: Artifact) -> tuple[Format, Precision]:
    return artifact.format, artifact.precision


def _run(bundle: Bundle, artifact: Artifact, x: npt.NDArray[np.float32]) -> list[Array]:
    """Run a file on all of ``x``; one array for each output."""
    runner = open_runner(bundle.file(artifact), artifact.format, artifact.inputs, artifact.outputs)
    rows = [runner.run((x[index : index + 1],)) for index in range(len(x))]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def report(networks: list[Trained], known: dict[str, Any]) -> list[str]:
    clean = [Result(**row) for t in networks for row in known.get(t.name, ())]
    attacked = [Spoiled(**row) for t in networks for row in known.get(f"{t.name} spoiled", ())]
    lines = [
        "# Accuracy of int8 on held-out data",
        "",
        "The networks are small versions of the zoo's, trained for minutes on one core: on the UCI",
        "handwritten digits, and on drawn figures in clutter (12 classes; masks for the U-Net).",
        "Calibration used 128 training samples and the default options. Scores are top-1 (for the",
        "U-Net the mean IoU) in percent; int8 columns are differences to float32 in points. The",
        "goals: a loss of at most 0.3 points on average and 1.0 at worst, the same argmax in both",
        "int8 files for 99.9% of the inputs, and 99% of the outputs within one step.",
        machine("edgeconv", "torch", "onnxruntime", "ai-edge-litert"),
        "",
        *markdown_table(
            [
                "network",
                "samples",
                "float32",
                "int8 ONNX",
                "int8 TFLite",
                "same argmax",
                "within one step",
                "SQNR",
            ],
            map(_result_row, clean),
        ),
        "",
        _summary(clean),
    ]
    if attacked:
        lines += [
            "",
            "## Networks made hard to quantize",
            "",
            "The function in float stays the same, but parameters (or inputs) are chosen to spoil",
            "8-bit ranges: channels rescaled by factors of up to 1000, dead channels that are read",
            "by large weights, channels that carry a large constant, inputs with rare values 200",
            "times too large. Min-max is int8 without the accuracy passes; the last column is the",
            "difference of the default to float32 in points.",
            "",
            *markdown_table(
                ["network", "attack", "float32", "int8 min-max", "int8 default", "points"],
                map(_spoiled_row, attacked),
            ),
        ]
    return lines


def _summary(found: list[Result]) -> str:
    if not found:
        return "Nothing is measured yet."
    losses = [
        100 * (result.float_score - value)
        for result in found
        for value in (result.onnx_score, result.tflite_score)
    ]
    argmax = sum(r.same_argmax * r.samples for r in found) / sum(r.samples for r in found)
    within = float(np.mean([r.within_one_step for r in found]))
    return (
        f"int8 loses {np.mean(losses):.2f} points on average and {max(losses):.2f} at worst; "
        f"{argmax:.2%} of all inputs have the same argmax in both int8 files, and {within:.2%} of "
        "the outputs are within one step."
    )


def _result_row(result: Result) -> list[str]:
    points = [
        f"{100 * (value - result.float_score):+.2f}"
        for value in (result.onnx_score, result.tflite_score)
    ]
    unit = " (IoU)" if result.metric == Metric.IOU.value else ""
    return [
        f"{result.name}{unit}",
        str(result.samples),
        f"{100 * result.float_score:.2f}",
        *points,
        f"{result.same_argmax:.2%}",
        f"{result.within_one_step:.2%}",
        f"{result.sqnr_db:.1f} dB",
    ]


def _spoiled_row(result: Spoiled) -> list[str]:
    scores = (result.float_score, result.plain_score, result.default_score)
    return [
        result.name,
        result.attack,
        *(f"{100 * value:.2f}" for value in scores),
        f"{100 * (result.default_score - result.float_score):+.2f}",
    ]


if __name__ == "__main__":
    main()
