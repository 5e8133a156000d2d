"""Whole networks: figures, layouts, operator versions, and the old runtime."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeconv.bundle import IoType, Layout
from edgeconv.export.capture.module import capture_module
from edgeconv.export.opset import DEFAULT_OPSET
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import QuantizeOptions, RangeMethod, apply_io, quantize
from edgeconv.export.tflite import lower
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input
from support.lowering import Array, Arrays, in_layout, operators
from support.runtimes import run_onnx, run_tflite

pytestmark = pytest.mark.slow

OldRuntime = Callable[[bytes, Mapping[str, Array]], Arrays]

NETWORKS = ["mobilenet_v1", "mobilenet_v2", "resnet18", "resnet50", "resnet8"]
SIZES = {"resnet8": 32}
SIZE = 64  # pixels: small enough for slow machines, and even at every stage

# An untrained network of this depth amplifies a change of its input up to a hundredfold, and the
# runtimes sum in orders of their own.
FLOAT_TOLERANCE = 1e-4
# Between runtimes, an int8 network may differ by roundings; they stay below the noise of the
# quantization itself by at least this much.
# What is compared are runtimes, so nothing is fitted to the samples beyond their extremes.
PLAIN = QuantizeOptions(
    range_method=RangeMethod.MINMAX,
    equalization=False,
    bias_absorption=False,
    bias_correction=False,
)
MARGIN_DB = 3.0


@dataclass(frozen=True)
class Network:
    name: str
    model: ir.Model
    inputs: Array
    quantized: ir.Model

    @property
    def feed(self) -> Arrays:
        """The first input, as ONNX has it."""
        return {str(self.model.graph.inputs[0].name): self.inputs[:1]}

    def scores(self, model: ir.Model) -> Array:
        """What ONNX Runtime, with its fusions, makes of the first input."""
        (scores,) = run_onnx(ir.serde.serialize_model(model), self.feed, fused=True).values()
        return scores

    @property
    def agreement_db(self) -> float:
        return sqnr(self.scores(self.model), self.scores(self.quantized)) + MARGIN_DB


@pytest.fixture(scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    size = SIZES.get(request.param, SIZE)
    net = randomize_(create_model(request.param), shape=(3, size, size))
    inputs = structured_input((4, 3, size, size)).numpy()
    model = optimize(capture_module(net, [inputs[:1]], ["scores"], DEFAULT_OPSET))
    batches = [[inputs[index : index + 1]] for index in range(len(inputs))]
    int8 = quantize(model, batches, PLAIN).model
    return Network(request.param, model, inputs, int8)


def in_order(feeds: Arrays, layout: Layout) -> Arrays:
    return {name: in_layout(array, layout) for name, array in feeds.items()}


def sqnr(reference: Array, result: Array) -> float:
    noise = np.square(reference - result).sum()
    return float(10 * np.log10(np.square(reference).sum() / noise)) if noise else np.inf


@pytest.mark.parametrize("layout", Layout)
def test_float(network: Network, layout: Layout) -> None:
    lowered = lower(network.model, layout=layout)
    # NCHW costs the one transpose of the input.
    assert operators(lowered).count("TRANSPOSE") == (layout is Layout.NCHW)
    assert "RESHAPE" not in operators(lowered)
    assert set(lowered.operators.values()) == {1}
    assert lowered.float_fallback == ()
    expected = network.scores(network.model)
    (result,) = run_tflite(lowered.data, in_order(network.feed, layout)).values()
    assert np.abs(result - expected).max() <= FLOAT_TOLERANCE * np.abs(expected).max()


def test_int8(network: Network) -> None:
    lowered = lower(network.quantized)
    assert lowered.float_fallback == ()
    names = operators(lowered)
    assert names.count("QUANTIZE") == names.count("DEQUANTIZE") == 1
    assert "TRANSPOSE" not in names
    versions = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "QUANTIZE": 1, "RESHAPE": 1}
    assert lowered.operators == {name: versions.get(name, 2) for name in lowered.operators}
    (result,) = run_tflite(lowered.data, in_order(network.feed, Layout.NHWC)).values()
    assert sqnr(network.scores(network.quantized), result) > network.agreement_db


@pytest.mark.parametrize("io", [IoType.INT8, IoType.UINT8])
def test_integer_inputs_and_outputs(network: Network, io: IoType) -> None:
    model = apply_io(network.quantized, io)
    lowered = lower(model)
    (given,), (made,) = lowered.inputs, lowered.outputs
    assert given.dtype == made.dtype == io.value
    assert given.scale is not None
    assert given.zero_point is not None
    # int8 is what runs inside; uint8 is shifted on the way in and out.
    assert operators(lowered).count("QUANTIZE") == (0 if io is IoType.INT8 else 2)
    limits = np.iinfo(io.value)
    codes = np.rint(network.inputs[:1] / given.scale) + given.zero_point
    codes = codes.clip(limits.min, limits.max).astype(io.value)
    (result,) = run_tflite(lowered.data, in_order({given.name: codes}, Layout.NHWC)).values()
    assert made.scale is not None
    assert made.zero_point is not None
    real = (result.astype(np.float32) - made.zero_point) * np.float32(made.scale)
    assert sqnr(network.scores(network.quantized), real) > network.agreement_db


def test_tflite_runtime_214(network: Network, tflite214: OldRuntime) -> None:
    feeds = in_order(network.feed, Layout.NHWC)
    expected = network.scores(network.model)
    (result,) = tflite214(lower(network.model).data, feeds).values()
    assert np.abs(result - expected).max() <= FLOAT_TOLERANCE * np.abs(expected).max()
    (result,) = tflite214(lower(network.quantized).data, feeds).values()
    # Its int8 kernels round twice where the newer ones round once: as close to the float network
    # as ONNX Runtime is, but not as close to that.
    assert sqnr(expected, result) > sqnr(expected, network.scores(network.quantized)) - MARGIN_DB


def test_memory_is_a_small_multiple_of_the_file(network: Network) -> None:
    if network.name != "mobilenet_v2":
        pytest.skip("the limit is for a network whose weights outweigh the bookkeeping")
    size = len(lower(network.model).data)
    gc.collect()
    tracemalloc.start()
    try:
        lower(network.model)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * size
