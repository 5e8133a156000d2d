"""Measure time and memory of the lowering to TFLite, for every network of the zoo.

One process captures and quantizes a network at its own input size and saves the graphs; a fresh
process loads a graph and lowers it. The memory is the size of the ONNX file plus the growth of the
process during the lowering; the table divides it by the size of the larger of the two files.

    .venv/bin/python -m benchmarks.lowering_time [NETWORK ...]
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx_ir as ir

from benchmarks.measuring import machine, markdown_table, median_and_range, publish
from edgeconv.units import format_bytes

RUNS = 5
PRECISIONS = ("float32", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--save", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--lower", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.save:
        save(arguments.save[0], Path(arguments.save[1]))
    elif arguments.lower:
        sys.stdout.write(json.dumps(measure_lowering(arguments.lower)))
    else:
        report(arguments.networks)


def report(networks: list[str]) -> None:
    from edgeconv.models import list_models

    rows = []
    for network in networks or list_models():
        with tempfile.TemporaryDirectory() as folder:
            again("--save", network, folder)
            rows += [row(network, precision, Path(folder)) for precision in PRECISIONS]
    rows.sort(key=lambda cells: (cells[0] != "mobilenet_v2",))
    publish(
        "lowering_time",
        [
            "# Lowering: ONNX in memory to TFLite bytes",
            "",
            f"{RUNS} runs in one process: median [minimum, maximum]. The memory is the size of the "
            "ONNX file plus the growth of the process at its peak; the column × model divides it "
            "by the size of the larger of the two files.",
            "The goals are MobileNetV2 in 300 ms, any network in 1 s per 100 MB of weights, and "
            "memory under 2.5 times the model. In networks with less than a few MB of weights the "
            "graph's Python objects (about 1 MB) dominate the memory, and a few fixed milliseconds "
            "dominate the time.",
            machine("edgeconv", "onnx-ir", "flatbuffers"),
            "",
            *markdown_table(
                ["network", "precision", "ONNX", "time", "s/100 MB", "memory", "× model"], rows
            ),
        ],
    )


def row(network: str, precision: str, folder: Path) -> list[str]:
    path = folder / f"{precision}.onnx"
    figures = json.loads(again("--lower", str(path)))
    size = path.stat().st_size
    seconds = sorted(figures["seconds"])
    return [
        network,
        precision,
        format_bytes(size),
        median_and_range(seconds),
        f"{seconds[len(seconds) // 2] / size * 1e8:.2f}",
        format_bytes(figures["memory"]),
        f"{figures['memory'] / max(size, figures['tflite']):.2f}",
    ]


def again(*arguments: str) -> str:
    """Run this script in a fresh process, and return what it prints."""
    command = [sys.executable, "-m", "benchmarks.lowering_time", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def save(network: str, folder: Path) -> None:
    """Save the optimized float graph and the int8 graph of a network with random weights."""
    from edgeconv.export.capture.module import capture_module
    from edgeconv.export.data.samples import Sample
    from edgeconv.export.passes import optimize
    from edgeconv.export.quantize import QuantizeOptions, quantize
    from edgeconv.models import create_model, input_shape, output_names
    from edgeconv.models.randomize import randomize_, structured_input

    shape = input_shape(network)
    module = randomize_(create_model(network), shape=shape)
    samples: list[Sample] = [(structured_input((1, *shape), 0).numpy(),)]
    names = output_names(network) or ("output",)
    graph = optimize(capture_module(module, samples[0], names, 20))
    ir.save(graph, folder / "float32.onnx")
    plain = QuantizeOptions(equalization=False, bias_absorption=False, bias_correction=False)
    ir.save(quantize(graph, samples, plain).model, folder / "int8.onnx")


def measure_lowering(path: Path) -> dict[str, object]:
    """Lower the graph of an ONNX file several times, and return seconds and bytes."""
    from edgeconv.export.tflite import lower

    lower(one_operator())  # imports and caches
    model = in_memory(path)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory freed before must not hide new growth
    before = resident("VmRSS")
    forget_peak()
    data = lower(model).data
    memory = path.stat().st_size + resident("VmHWM") - before
    size = len(data)
    del data
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        lower(model)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "memory": memory, "tflite": size}


def one_operator() -> ir.Model:
    x = ir.val("x", dtype=ir.DataType.FLOAT, shape=ir.Shape([1, 4]))
    node = ir.node("Relu", [x])
    node.outputs[0].name = "y"
    node.outputs[0].shape, node.outputs[0].dtype = x.shape, x.dtype
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 20})
    return ir.Model(graph, ir_version=9)


def in_memory(path: Path) -> ir.Model:
    """Load a graph with its weights as NumPy arrays, as capture leaves them."""
    model = ir.load(path)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    return model


def resident(field: str) -> int:
    """Read the resident bytes of this process: VmRSS for now, VmHWM for its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    main()
