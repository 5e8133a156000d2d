"""Measure int8 on inputs that calibration did not see, beside ONNX Runtime's own quantizer.

    .venv/bin/python -m benchmarks.int8_held_out [NETWORK ...] [--size 96]

The networks are timm's, with weights that make every layer matter, and 16 structured images
calibrate them. Needs ``pip install timm``. Writes ``results/int8_held_out.md``; the networks of
``CHOSEN_ON`` are those that choices were made on, and the others are only reported.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizedModel, QuantizeOptions, quantize
from edgeconv.export.runtimes import OnnxRunner
from edgeconv.export.tensor_info import input_infos, output_infos
from edgeconv.metrics import Sqnr
from edgeconv.models.randomize import randomize_, structured_input

CHOSEN_ON = (
    *("resnet18", "mnasnet_100", "repghostnet_050", "inception_next_atto", "edgenext_xx_small"),
)
REPORTED = (
    *("regnetx_002", "ghostnet_100", "fbnetc_100", "tinynet_a", "gernet_s", "ese_vovnet19b_dw"),
    *("fastvit_t8", "efficientnet_b0", "efficientnet_lite0", "mobilenetv2_100"),
    *("mobilenetv3_small_100", "mobilenetv3_large_100", "mobilenetv4_conv_small", "mobileone_s0"),
    *("repvgg_a0", "regnety_002", "resnet50", "densenet121", "dla34", "hrnet_w18_small"),
    *("convnext_atto", "convnextv2_atto", "poolformer_s12", "mobilevit_xxs", "hardcorenas_a"),
    *("spnasnet_100", "semnasnet_075", "mixnet_s", "rexnet_100", "lcnet_050", "cs3darknet_s"),
    *("skresnet18", "selecsls42", "ghostnetv2_100", "starnet_s1", "repvit_m0_9", "fasternet_t0"),
    *("efficientvit_b0", "resnext26ts"),
)
SAMPLES = 16
UNSEEN = 48
# ONNX Runtime counts the activations of so many samples at a time. It takes all batches to be full.
_AT_ONCE = 16

Image = npt.NDArray[np.float32]
COLUMNS = {f"effort {effort}": QuantizeOptions(effort=effort) for effort in (0, 1)}


@dataclass(frozen=True)
class Subject:
    """A network and its data."""

    name: str
    graph: ir.Model
    size: int

    def images(self, first: int, count: int) -> list[Image]:
        shape = (1, 3, self.size, self.size)
        return [structured_input(shape, seed).numpy() for seed in range(first, first + count)]

    @property
    def calibration(self) -> list[Image]:
        return self.images(100, SAMPLES)

    @property
    def unseen(self) -> list[Image]:
        return self.images(1000, UNSEEN)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[*CHOSEN_ON, *REPORTED])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--graphs", type=Path, help="Folder that keeps captured networks.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    gains: dict[str, list[float]] = {name: [] for name in COLUMNS}
    for name in arguments.networks:
        subject = load(name, arguments.size, arguments.graphs)
        expected = run(subject.graph, subject.unseen)
        peer = db(expected, run(peer_model(subject.graph, subject.calibration), subject.unseen))
        cells = [f"{name}{'*' if name in CHOSEN_ON else ''}", f"{peer:.1f}"]
        for column, options in COLUMNS.items():
            start = time.process_time()
            made = quantize(subject.graph, [(x,) for x in subject.calibration], options)
            seconds = time.process_time() - start
            ours = db(expected, run(made.model, subject.unseen))
            if name not in CHOSEN_ON:
                gains[column].append(ours - peer)
            cells.append(f"{ours:.1f} ({ours - peer:+.1f}), {seconds:.1f} s")
        cells.append(described(made))
        rows.append(cells)
        sys.stderr.write(" | ".join(cells) + "\n")
    held_out = len(next(iter(gains.values())))
    if held_out:
        mean = [f"{statistics.mean(each):+.2f}, least {min(each):+.1f}" for each in gains.values()]
        rows.append([f"**mean gain of the {held_out} without a star**", "", *mean, ""])
    publish(
        "int8_held_out",
        [
            "# int8 on images that calibration did not see",
            "",
            f"SQNR in dB over {UNSEEN} images of {arguments.size}x{arguments.size} after",
            f"calibration on {SAMPLES} others, the gain over ONNX Runtime's min-max on the same",
            "images, and CPU seconds of quantization. Choices were made on the networks with a",
            "star.",
            machine("edgeconv", "onnxruntime", "timm"),
            "",
            *markdown_table(["network", "ONNX Runtime", *COLUMNS, "what was kept"], rows),
        ],
    )


def described(made: QuantizedModel) -> str:
    kept = [step.name for step in made.improvements if step.kept]
    method = made.range_method.value if made.range_method else ""
    return ", ".join([method, *kept])


def load(name: str, size: int, folder: Path | None) -> Subject:
    """Capture a network of timm, or read it from an earlier run."""
    kept = folder / f"{name}_{size}.onnx" if folder else None
    if kept is not None and kept.exists():
        return Subject(name, ir.load(kept), size)
    import timm

    network = randomize_(timm.create_model(name), shape=(3, size, size))
    example = structured_input((1, 3, size, size)).numpy()
    graph = optimize(capture_module(network, (example,), ["output"], 20))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        ir.save(graph, kept)
    return Subject(name, graph, size)


class _Reader(CalibrationDataReader):
    def __init__(self, name: str, images: Sequence[Image]) -> None:
        self._feeds = [{name: image} for image in images]
        self.set_range(0, len(self._feeds))

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._left: Iterator[dict[str, Image]] = iter(self._feeds[start_index:end_index])

    def get_next(self) -> dict[str, Image] | None:
        return next(self._left, None)


def peer_model(
    graph: ir.Model,
    calibration: Sequence[Image],
    method: CalibrationMethod = CalibrationMethod.MinMax,
) -> ir.Model:
    """The same graph, quantized by ONNX Runtime: QDQ, weights per channel."""
    # All activations of all samples would take 17 GB for 128 samples of a large network.
    strided = {} if method is CalibrationMethod.MinMax else {"CalibStridedMinMax": _AT_ONCE}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(ir.to_proto(graph)), source)
        quantize_static(
            source,
            target,
            _Reader(str(graph.graph.inputs[0].name), calibration),
            calibrate_method=method,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options=strided,
        )
        return ir.from_proto(onnx.load(target))


def run(model: ir.Model, images: Sequence[Image]) -> npt.NDArray[Any]:
    proto = ir.to_proto(model).SerializeToString()
    runner = OnnxRunner(proto, input_infos(model), output_infos(model))
    return np.concatenate([runner.run((image,))[-1] for image in images])


def db(expected: npt.NDArray[Any], got: npt.NDArray[Any]) -> float:
    return Sqnr.between(expected, got).db


if __name__ == "__main__":
    main()
