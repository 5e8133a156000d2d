"""Measure where the noise of int8 comes from, on trained networks and unseen photographs.

    .venv/bin/python -m benchmarks.int8_noise

The networks and photographs are those of ``benchmarks.real_networks``. Of a version with
percentile ranges, one thing at a time is done to the float network: weights are rounded, with and
without the mean error of each channel taken back, and activations are clipped to what their
integers represent. Writes ``results/int8_noise.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from benchmarks.int8_held_out import db, run
from benchmarks.int8_real_weights import network_of
from benchmarks.measuring import machine, markdown_table, publish
from benchmarks.real_networks import TASKS, Task, data
from edgeconv.export.graph_edit import GraphEditor
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, fit
from edgeconv.export.quantize.calibrated import CalibratedModel

OPTIONS = QuantizeOptions(
    range_method=RangeMethod.PERCENTILE, equalization=False, bias_absorption=False, repair=False
)


def with_rounded_weights(fitted: CalibratedModel) -> ir.Model:
    """The float graph with the weights that the integers represent."""
    model = fitted.model.clone()
    for node in model.graph:
        weight = fitted.weights.get(str(node.outputs[0].name))
        if weight is not None:
            scale = weight.parameters.aligned_scale(weight.integers.ndim)
            rounded = weight.integers.astype(np.float32) * scale
            value = node.inputs[1]
            assert value is not None
            value.const_value = ir.tensor(rounded, name=value.name)
    return model


def with_clipped_activations(fitted: CalibratedModel) -> ir.Model:
    """The float graph with every activation clipped to the range of its integers."""
    model = fitted.model.clone()
    values = ir.convenience.create_value_mapping(model.graph)
    editor = GraphEditor(model.graph)
    for name, parameters in fitted.activations.items():
        value, within = values[name], parameters.range
        readers = list(value.uses())
        limits = [
            editor.constant(f"{name}/{end}", np.float32(limit))
            for end, limit in (("low", within.low), ("high", within.high))
        ]
        clip = ir.Node("", "Clip", [value, *limits], outputs=[ir.Value(name=f"{name}/clipped")])
        producer = value.producer()
        if producer is None:
            model.graph.insert_before(model.graph[0], clip)
        else:
            model.graph.insert_after(producer, clip)
        for reader, index in readers:
            reader.replace_input_with(index, clip.outputs[0])
    return model


def measured(task: Task) -> Iterator[list[str]]:
    """A row for each source of noise."""
    samples = data(task)
    unseen = samples.unseen
    batches = [[sample] for sample in samples.calibration]
    network = network_of(task)
    plain, _ = fit(network, batches, replace(OPTIONS, bias_correction=False))
    corrected, _ = fit(network, batches, OPTIONS)
    expected = run(network, unseen)
    for title, model in (
        ("weights rounded", with_rounded_weights(plain)),
        ("weights rounded, biases corrected", with_rounded_weights(corrected)),
        ("activations clipped", with_clipped_activations(plain)),
        ("int8", plain.to_qdq()[0]),
        ("int8, biases corrected", corrected.to_qdq()[0]),
    ):
        yield [title, f"{db(expected, run(model, unseen)):.1f} dB"]


def main() -> None:
    lines = []
    for task in TASKS:
        if task.text is None:
            rows = list(measured(task))
            lines += ["", f"## {task.name}", "", *markdown_table(["what is done", "SQNR"], rows)]
    publish(
        "int8_noise",
        [
            "# Where the noise of int8 comes from",
            "",
            "SQNR over 240 crops of photographs, after calibration on 128 crops of others, with",
            "percentile ranges. Rounded weights cost most by moving the means of channels, which",
            "corrected biases take back in part. What is missing from int8 beyond rounded weights",
            "and clipped activations is the rounding of activations.",
            machine("edgeconv", "onnxruntime"),
            *lines,
        ],
    )


if __name__ == "__main__":
    main()
