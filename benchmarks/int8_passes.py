"""Measure how much each accuracy pass gains in int8, over networks of the zoo.

    .venv/bin/python -m benchmarks.int8_passes [NETWORK ...] [--size 64] [--without-adaptive]

Writes ``results/int8_passes.md``. The weights are random, but every layer matters for the output;
the ranges are min-max. Every network is measured as it is, and once more with rescaled channels:
factors of up to 1000 scale the channels between two layers and are divided out again in the second
one, so the function stays the same. Training with weight decay on one side of a ReLU does the same.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import torch

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, Rounding, prepare, quantize
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.export.quantize.accuracy.segments import find_segments
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

NETWORKS = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v4_conv_small",
    "efficientnet_lite0",
    "mnasnet1_0",
    "resnet18",
    "resnet8",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
)
SAMPLES = 32
HELD_OUT = 32
LARGEST = 1000.0

ON = QuantizeOptions(range_method=RangeMethod.MINMAX)
OFF = replace(ON, equalization=False, bias_absorption=False, bias_correction=False)
COLUMNS = {
    "none": OFF,
    "equalization": replace(OFF, equalization=True),
    "absorption": replace(OFF, bias_absorption=True),
    "bias correction": replace(OFF, bias_correction=True),
    "all three": ON,
    "and adaptive rounding": replace(ON, rounding=Rounding.ADAPTIVE),
}


@dataclass(frozen=True)
class Subject:
    network: str
    size: int

    def samples(self, first: int, count: int) -> list[Sample]:
        shape = (1, 3, self.size, self.size)
        return [(structured_input(shape, seed).numpy(),) for seed in range(first, first + count)]

    def graph(self) -> ir.Model:
        module = randomize_(create_model(self.network), shape=(3, self.size, self.size))
        captured = capture_module(module, self.samples(0, 1)[0], ["output"], 20)
        return prepare(optimize(captured))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--without-adaptive", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = dict(COLUMNS)
    if arguments.without_adaptive:
        columns.popitem()
    rows = []
    for network in arguments.networks:
        subject = Subject(network, arguments.size)
        graph = subject.graph()
        for title, model in (("as it is", graph), ("rescaled", rescaled(graph))):
            rows.append([network, title, *compare(subject, model, list(columns.values()))])
            sys.stderr.write(" ".join(rows[-1]) + "\n")
    publish(
        "int8_passes",
        [
            "# SQNR of int8 with each pass by itself, and with all of them",
            "",
            f"SQNR in dB against the float network on {HELD_OUT} held-out inputs of "
            f"{arguments.size}x{arguments.size}; calibration used {SAMPLES} samples. A pass is "
            "kept only where it helps on some of the calibration samples.",
            f"Rescaled: the channels are divided by factors from 1/{LARGEST:.0f} to {LARGEST:.0f}, "
            "and the next layer multiplies them back.",
            machine("edgeconv", "onnxruntime", "torch"),
            "",
            *markdown_table(["network", "channels", *columns], rows),
        ],
    )


def compare(subject: Subject, model: ir.Model, options: Sequence[QuantizeOptions]) -> list[str]:
    samples = subject.samples(0, SAMPLES)
    judge = Judge.on(model, subject.samples(1000, HELD_OUT))
    return [f"{judge.sqnr_db(quantize(model, samples, each).model):.1f}" for each in options]


def rescaled(graph: ir.Model) -> ir.Model:
    graph = graph.clone()
    generator = np.random.default_rng(0)
    for segment in find_segments(graph.graph):
        if segment.bound < np.inf:
            continue  # a ReLU6 does not commute with a scale
        weight = segment.producer.weight
        factors = LARGEST ** generator.uniform(-1, 1, weight.shape[0] * weight.shape[1])
        segment.producer.set_bias(segment.producer.bias / factors)
        segment.producer.set_weight(weight / factors.reshape(*weight.shape[:2], 1, 1))
        for layer in segment.consumers:
            weight = layer.weight
            layer.set_weight(weight * factors.reshape(weight.shape[0], 1, weight.shape[2], 1))
    return graph


if __name__ == "__main__":
    main()
