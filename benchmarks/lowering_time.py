"""Time of the lowering alone: MobileNetV2 as an ONNX graph in memory to the bytes of a TFLite file.

python benchmarks/lowering_time.py
"""

from __future__ import annotations

import time

from measuring import machine, markdown_table, median_and_range, publish

from edgeconv.export.capture import capture_module
from edgeconv.export.data import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import quantize
from edgeconv.export.tflite import lower
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

RUNS = 20


def main() -> None:
    network = randomize_(create_model("mobilenet_v2"), shape=(3, 224, 224))
    samples: list[Sample] = [(structured_input((1, 3, 224, 224), s).numpy(),) for s in range(4)]
    graph = optimize(capture_module(network, samples[0], ["output"], 20), already_optimized=True)
    rows = []
    for name, model in (("float32", graph), ("int8", quantize(graph, samples).model)):
        lower(model)  # imports and caches
        seconds = []
        for _ in range(RUNS):
            start = time.perf_counter()
            lower(model)
            seconds.append(time.perf_counter() - start)
        rows.append([name, median_and_range(seconds)])
    publish(
        "lowering_time",
        [
            "# Lowering of MobileNetV2, 1x3x224x224",
            "",
            f"ONNX in memory to TFLite bytes, {RUNS} runs in one process: median [least, most].",
            "The goal is 300 ms.",
            machine("edgeconv", "onnx-ir", "flatbuffers"),
            "",
            *markdown_table(["precision", "time"], rows),
        ],
    )


if __name__ == "__main__":
    main()
