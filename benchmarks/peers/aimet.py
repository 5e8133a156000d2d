"""Quantize with AIMET on the quantization points of another tool, and run the result.

    PEER/bin/python aimet.py FOLDER METHOD...

PEER is an environment with ``pip install aimet-onnx``. FOLDER has ``network.onnx``, a float graph;
``points.json`` with the names of the activations that are quantized and those of the weights;
``calibration.npy`` and ``unseen.npy``, one sample per row. For each method, FOLDER gets the outputs
for the unseen samples, ``METHOD.npy``, and the processor time in seconds, ``METHOD.seconds``.
Activations are asymmetric with one scale each; weights are symmetric, with one scale per channel.
What AIMET has no quantizer for, such as a mean that a Reshape reads, stays in float, in its favor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported

import numpy as np
import onnx
from aimet_onnx import QuantizationSimModel, apply_seq_mse, compute_encodings

LEARNED_FROM = 32  # samples for sequential MSE, which takes minutes
SCHEMES = {"min-max": "min_max", "enhanced": "tf_enhanced", "sequential-mse": "min_max"}


def simulated(folder: Path, scheme: str) -> QuantizationSimModel:
    """The network with quantizers at the points, and nowhere else."""
    activations, weights = json.loads((folder / "points.json").read_text())
    sim = QuantizationSimModel(
        onnx.load(folder / "network.onnx"),
        quant_scheme=scheme,
        param_type="int8",
        activation_type="int8",
    )
    if missing := {*activations, *weights} - set(sim.qc_quantize_op_dict):
        sys.stderr.write(f"AIMET does not quantize {', '.join(sorted(missing))}\n")
    for name, quantizer in sim.qc_quantize_op_dict.items():
        quantizer.enabled = name in activations or name in weights
        quantizer.use_symmetric_encodings = name in weights
        if name in weights:
            quantizer.enable_per_channel_quantization()
            quantizer.use_strict_symmetric = True
    return sim


def main() -> None:
    folder = Path(sys.argv[1])
    calibration, unseen = (np.load(folder / f"{name}.npy") for name in ("calibration", "unseen"))
    for method in sys.argv[2:]:
        start = time.process_time()
        sim = simulated(folder, SCHEMES[method])
        (name,) = (value.name for value in sim.model.model.graph.input)
        samples = [{name: sample[None]} for sample in calibration]
        if method == "sequential-mse":
            apply_seq_mse(sim, samples[:LEARNED_FROM])
        with compute_encodings(sim):
            for sample in samples:
                sim.session.run(None, sample)
        seconds = time.process_time() - start
        outputs = [sim.session.run(None, {name: sample[None]})[0] for sample in unseen]
        np.save(folder / f"{method}.npy", np.concatenate(outputs))
        (folder / f"{method}.seconds").write_text(f"{seconds}\n")


if __name__ == "__main__":
    main()
