"""Measure what repair gains on networks that lose most of an output in int8, and what it costs.

    .venv/bin/python -m benchmarks.int8_repair [NAME ...]

Writes ``results/int8_repair.md``. Each network has one structure whose scales do not fit into
8 bits; its weights are random, and its output depends on its input.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.measuring import machine, markdown_table, publish
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.quantize.accuracy.judge import Judge
from edgeconv.models.randomize import structured_input

SAMPLES, HELD_OUT = 32, 16


def _stem(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, 1)
    )


class FlatSoftmax(nn.Module):
    """A softmax over 1000 nearly equal scores, which a linear layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.scores, self.head = _stem(16), nn.Linear(16, 1000), nn.Linear(1000, 8)

    def forward(self, x: Tensor) -> Tensor:
        probabilities = self.scores(self.stem(x).mean((2, 3))).softmax(-1)
        read: Tensor = self.head(probabilities * 1000)
        return read


class UnevenConcat(nn.Module):
    """Features and others 1000 times as large in one concatenation, which weigh little."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.large, self.small = _stem(8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(16, 4, 1)
        with torch.no_grad():
            self.head.weight[:, :8] /= 1000

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x)
        joined = torch.cat(
            [1000 * (4 * self.large(features)).tanh(), self.small(features).relu()], 1
        )
        result: Tensor = self.head(joined)
        return result


class RescaledStages(nn.Module):
    """Residual stages whose channels differ by a factor of up to 1000, undone at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = _stem(16), nn.Conv2d(16, 4, 1)
        self.blocks = nn.ModuleList(nn.Conv2d(16, 16, 3, 1, 1) for _ in range(4))
        self.factors: Tensor
        self.register_buffer(
            "factors", (1000 ** torch.linspace(-0.5, 0.5, 16)).reshape(1, -1, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x) * self.factors
        for block in self.blocks:
            x = x + block((x / self.factors).relu()) * self.factors
        result: Tensor = self.head(x / self.factors)
        return result


class InverseDepth(nn.Module):
    """Depth from an inverse that comes close to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = _stem(16), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return 1 / (0.001 + nn.functional.softplus(20 * self.head(self.stem(x))))


class ClassToken(nn.Module):
    """A class token beside patch tokens 100 times as large; both are mixed, and it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix, self.head = _stem(16), nn.Linear(257, 257), nn.Linear(16, 8)
        self.small = nn.Linear(16, 16)
        with torch.no_grad():
            self.mix.weight[:, 1:] /= 1000
            self.mix.weight[0, 0] = 1

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        first = self.small(tokens.mean(1, keepdim=True))
        joined = torch.cat([first, 100 * tokens], 1)
        joined = self.mix(joined.transpose(1, 2)).transpose(1, 2)
        result: Tensor = self.head(joined[:, 0])
        return result


class Detector(nn.Module):
    """Boxes in pixels and scores, joined and then read by a permutation and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.boxes, self.scores = _stem(16), nn.Conv2d(16, 4, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x)
        boxes = 320 * self.boxes(features).flatten(2).sigmoid()
        scores = (self.scores(features).flatten(2) * 4 - 6).sigmoid()
        return 1.5 * torch.cat([boxes, scores], 1).transpose(1, 2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "flat softmax over 1000 classes": FlatSoftmax,
    "concatenation of 1000:1": UnevenConcat,
    "rescaled residual stages": RescaledStages,
    "inverse depth": InverseDepth,
    "class token beside larger patches": ClassToken,
    "detector, boxes and scores joined": Detector,
}


def compare(name: str) -> list[str]:
    """The SQNR of the worst output or part without repair and with it, and its cost."""
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    x = structured_input((SAMPLES + HELD_OUT, 3, 32, 32)).numpy()
    batches: list[Sample] = [(x[i : i + 1],) for i in range(len(x))]
    graph = optimize(capture_module(network, batches[0], ["output"], 20))
    judge = Judge.on(graph, batches[SAMPLES:])
    row, options = [name], QuantizeOptions()
    for repair in (False, True):
        start = time.perf_counter()
        quantized = quantize(graph, batches[:SAMPLES], replace(options, repair=repair))
        row += [f"{judge.sqnr_db(quantized.model):.1f}", f"{time.perf_counter() - start:.1f}"]
    steps = [step.name for step in quantized.improvements if " in float (" in step.name]
    return [*row, *(steps or ["nothing to do"])]


def main() -> None:
    """Measure the networks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", choices=[[], *NETWORKS])
    chosen = parser.parse_args().networks or list(NETWORKS)
    headers = ["network", "without, dB", "s", "with, dB", "s", "what stays in float"]
    publish(
        "int8_repair",
        [
            "# Repair of networks that lose an output in int8",
            "",
            f"SQNR in dB of the worst output, or part of a joined one, over {HELD_OUT} inputs that "
            f"calibration ({SAMPLES} samples) did not see, and the seconds of the quantization.",
            machine("edgeconv", "onnxruntime", "torch"),
            "",
            *markdown_table(headers, [compare(name) for name in chosen]),
        ],
    )


if __name__ == "__main__":
    main()
