"""Hold int8 against both peers on images that calibration did not see.

    .venv/bin/python -m benchmarks.peers.held_out [NETWORK ...] [--graphs FOLDER]

The networks and images are those of ``benchmarks.int8_held_out``. ai-edge-quantizer gets the
float32 file of edgeconv, so that all three quantize the same network; its file runs on LiteRT, as
does ours. Needs ``pip install timm ai-edge-quantizer``. Writes ``results/peers_held_out.md``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from ai_edge_litert.interpreter import Interpreter

from benchmarks.int8_held_out import CHOSEN_ON, REPORTED, Subject, db, load, peer_model, run
from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.peers.ai_edge import Samples, quantize_default, quantize_min_max
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.tflite import lower

Array = npt.NDArray[np.float32]
COLUMNS = ("ONNX Runtime", "ai-edge-quantizer", "its min-max", "ours, ONNX", "ours, TFLite")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=REPORTED)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--graphs", type=Path, help="Folder that keeps captured networks.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[list[str]] = []
    figures: dict[str, list[float]] = {}
    for name in arguments.networks:
        subject = load(name, arguments.size, arguments.graphs)
        with tempfile.TemporaryDirectory() as folder:
            found = measured(subject, Path(folder))
        rows.append([name, *map(shown, found), f"{found[-1] - best(found[:3]):+.1f}"])
        if name not in CHOSEN_ON:
            figures[name] = found
        sys.stderr.write(" | ".join(rows[-1]) + "\n")
    publish(
        "peers_held_out",
        [
            "# int8 of three tools on images that calibration did not see",
            "",
            "SQNR in dB against float32, as in `int8_held_out.md`, with the same networks and",
            "images; no choice was made on them. The gain is of our TFLite file at the default",
            "effort over the best of the three columns of the peers: ONNX Runtime's min-max, and",
            "ai-edge-quantizer with its own ranges and with min-max.",
            machine("edgeconv", "onnxruntime", "ai-edge-quantizer", "ai-edge-litert", "timm"),
            "",
            *markdown_table(["network", *COLUMNS, "gain"], rows),
            "",
            *(summary(list(figures.values())) if figures else []),
        ],
    )


def best(peers: Sequence[float]) -> float:
    return max(each for each in peers if not math.isnan(each))


def shown(figure: float) -> str:
    return "fails" if math.isnan(figure) else f"{figure:.1f}"


def summary(figures: Sequence[Sequence[float]]) -> list[str]:
    """The gain over each peer, and over the best of them, which is known only afterwards."""
    gains = {
        peer: [each[-1] - each[index] for each in figures if not math.isnan(each[index])]
        for index, peer in enumerate(COLUMNS[:3])
    }
    gains["the best of the three"] = [each[-1] - best(each[:3]) for each in figures]
    rows = [
        [
            f"{peer}, on {len(each)}",
            f"{statistics.mean(each):+.2f} dB",
            f"{statistics.median(each):+.2f} dB",
            f"{min(each):+.1f} dB",
        ]
        for peer, each in gains.items()
    ]
    return markdown_table(["over, on so many networks", "mean", "median", "least"], rows)


def measured(subject: Subject, folder: Path) -> list[float]:
    """SQNR of each column."""
    unseen, calibration = subject.unseen, subject.calibration
    expected = run(subject.graph, unseen)
    source = folder / "float32.tflite"
    source.write_bytes(lower(subject.graph).data)
    samples = [channels_last(x) for x in calibration]
    made: ir.Model = quantize(subject.graph, [(x,) for x in calibration], QuantizeOptions()).model
    ours = folder / "ours.tflite"
    ours.write_bytes(lower(made).data)
    return [
        db(expected, run(peer_model(subject.graph, calibration), unseen)),
        *(
            of_peer(quantizer, source, samples, expected, unseen)
            for quantizer in (quantize_default, quantize_min_max)
        ),
        db(expected, run(made, unseen)),
        db(expected, run_tflite(ours, unseen)),
    ]


def of_peer(
    quantizer: Callable[[Path, Samples, Path], Path],
    source: Path,
    samples: Samples,
    expected: Array,
    unseen: Sequence[Array],
) -> float:
    """SQNR of ai-edge-quantizer; NaN where it fails."""
    try:
        path = quantizer(source, samples, source.with_name("peer.tflite"))
    except Exception as error:  # it has no error of its own
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return math.nan
    return db(expected, run_tflite(path, unseen))


def channels_last(image: Array) -> Array:
    return np.ascontiguousarray(image.transpose(0, 2, 3, 1))


def run_tflite(path: Path, images: Sequence[Array]) -> Array:
    """The dequantized outputs on LiteRT."""
    model = Interpreter(model_path=str(path), num_threads=1)
    model.allocate_tensors()
    (given,), (got,) = model.get_input_details(), model.get_output_details()
    results = []
    for image in images:
        model.set_tensor(given["index"], quantized(channels_last(image), given))
        model.invoke()
        scale, zero = got["quantization"]
        values = model.get_tensor(got["index"])
        results.append((values.astype(np.float32) - zero) * scale if scale else values)
    return np.concatenate(results)


def quantized(values: Array, detail: dict[str, object]) -> npt.NDArray[np.generic]:
    scale, zero = detail["quantization"]  # type: ignore[misc]
    if not scale:
        return values
    limits = np.iinfo(detail["dtype"])  # type: ignore[call-overload]
    steps = np.round(values / scale) + zero
    return np.clip(steps, limits.min, limits.max).astype(detail["dtype"])  # type: ignore[call-overload, no-any-return]


if __name__ == "__main__":
    main()
