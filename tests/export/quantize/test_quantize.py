"""The QDQ graph: what becomes integer, what is shared, what is dropped, and what it computes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgeconv.bundle import IoType
from edgeconv.errors import DataError, UsageError
from edgeconv.export.capture.module import capture_module
from edgeconv.export.data.samples import Sample
from edgeconv.export.passes import optimize
from edgeconv.export.quantize import (
    ActivationType,
    QuantizedModel,
    QuantizeOptions,
    apply_io,
    quantize,
)
from edgeconv.models.randomize import randomize_, structured_input
from support.lowering import Net, as_model
from support.runtimes import onnx_session

pytestmark = pytest.mark.slow

SHAPE = (3, 12, 12)


class Branches(nn.Module):
    """A residual, a concatenation of a ReLU and a plain branch, and an operator left in float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.MaxPool2d(2)
        self.left = nn.Sequential(nn.Conv2d(8, 4, 1), nn.ReLU())
        self.right = nn.Conv2d(8, 4, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.stem(x)
        y = self.pool(y + self.depthwise(y))
        y = torch.cat([self.left(y), self.right(y)], 1)
        return self.head(torch.erf(y.mean((2, 3))))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [(structured_input((1, *SHAPE), seed).numpy(),) for seed in range(8)]


@pytest.fixture(scope="module")
def graph(samples: list[Sample]) -> ir.Model:
    network = randomize_(Branches(), shape=SHAPE)
    captured = capture_module(network, samples[0], ["output"], 20)
    return optimize(captured)


@pytest.fixture(scope="module")
def quantized(graph: ir.Model, samples: list[Sample]) -> QuantizedModel:
    return quantize(graph, samples)


def session(model: ir.Model, **options: str) -> ort.InferenceSession:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return onnx_session(proto, fused=True, **options)


def run(model: ir.Model, sample: Sample) -> np.ndarray:
    runtime = session(model)
    return runtime.run(None, {runtime.get_inputs()[0].name: sample[0]})[0]


def counts(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def test_the_float_graph_is_left_alone(graph: ir.Model, quantized: QuantizedModel) -> None:
    assert "QuantizeLinear" not in counts(graph)
    assert quantized.model is not graph


def test_it_computes_what_the_float_graph_computes(
    graph: ir.Model, quantized: QuantizedModel, samples: list[Sample]
) -> None:
    expected = np.stack([run(graph, sample) for sample in samples])
    got = np.stack([run(quantized.model, sample) for sample in samples])
    noise = np.sum((expected - got) ** 2) / np.sum(expected**2)
    # 8 bits and a handful of layers: about 35 dB here; 25 dB would be a lost bit and a half.
    assert 10 * np.log10(noise) < -25


def test_saturated_clamps_are_dropped_and_shared_ones_are_kept(quantized: QuantizedModel) -> None:
    # ReLU6 after the stem vanishes: its range saturates it. The ReLU before the concatenation
    # shares a range that goes below zero, so it must stay.
    kinds = counts(quantized.model)
    assert kinds["Clip"] == 0
    assert kinds["Relu"] == 1


def test_concatenation_and_pool_share_one_scale(quantized: QuantizedModel) -> None:
    for node in quantized.model.graph:
        if node.op_type not in ("Concat", "MaxPool"):
            continue
        around = [value.producer() for value in node.inputs] + list(node.outputs[0].consumers())
        parameters = {
            tuple(float(x.const_value.numpy()) for x in quantizer.inputs[1:])
            for quantizer in around
        }
        assert len(parameters) == 1, node.op_type


def test_what_has_no_integer_form_is_named(quantized: QuantizedModel) -> None:
    assert [entry for entry in quantized.float_fallback if "(Erf)" in entry]
    erf = next(node for node in quantized.model.graph if node.op_type == "Erf")
    assert erf.inputs[0].producer().op_type == "DequantizeLinear"


def test_onnxruntime_fuses_convolution_product_and_sum(
    quantized: QuantizedModel, tmp_path: Path
) -> None:
    path = str(tmp_path / "fused.onnx")
    session(quantized.model, optimized_model_filepath=path)
    fused = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert fused["Gemm"] == fused["Add"] == 0
    # The one before the ReLU that stays as well: that is quantized on both sides.
    assert fused["QLinearConv"] == 4


def test_int8_activations_are_the_same_integers(
    graph: ir.Model, quantized: QuantizedModel, samples: list[Sample]
) -> None:
    signed = quantize(graph, samples, QuantizeOptions(activation_type=ActivationType.INT8))
    # One step of the output: the runtime's kernels for the two types round differently.
    step = float(quantized.model.graph.outputs[0].producer().inputs[1].const_value.numpy())
    for sample in samples:
        difference = np.abs(run(signed.model, sample) - run(quantized.model, sample))
        assert difference.max() <= step * 1.01


def test_the_order_of_samples_does_not_matter(
    graph: ir.Model, quantized: QuantizedModel, samples: list[Sample]
) -> None:
    other = quantize(graph, samples[::-1])
    for name, value in quantized.model.graph.initializers.items():
        assert np.array_equal(
            value.const_value.numpy(), other.model.graph.initializers[name].const_value.numpy()
        )


@pytest.mark.parametrize("io", [IoType.INT8, IoType.UINT8])
@pytest.mark.parametrize("activation_type", list(ActivationType))
def test_integer_interface(
    graph: ir.Model, samples: list[Sample], io: IoType, activation_type: ActivationType
) -> None:
    model = quantize(graph, samples, QuantizeOptions(activation_type=activation_type)).model
    changed = apply_io(model, io)
    assert changed.graph.inputs[0].dtype == changed.graph.outputs[0].dtype
    assert str(changed.graph.inputs[0].dtype.numpy()) == io.value
    from edgeconv.export.runtimes import OnnxRunner
    from edgeconv.export.tensor_info import input_infos, output_infos

    runner = OnnxRunner(
        ir.to_proto(changed).SerializeToString(), input_infos(changed), output_infos(changed)
    )
    assert np.allclose(runner.run(samples[0])[0], run(model, samples[0]), atol=1e-6)


def test_a_float_output_cannot_be_an_integer(samples: list[Sample]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 3), Erf())
    captured = capture_module(randomize_(network, shape=SHAPE), samples[0], ["output"], 20)
    model = quantize(optimize(captured), samples).model
    with pytest.raises(UsageError, match="computed in float"):
        apply_io(model, IoType.INT8)


class Erf(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erf(x)


class Overflow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convolution(torch.exp(x * 1000)) * 0.0


def test_infinite_activations_are_an_error_that_names_one(samples: list[Sample]) -> None:
    captured = capture_module(Overflow().eval(), samples[0], ["output"], 20)
    with pytest.raises(DataError, match="NaN or infinite"):
        quantize(optimize(captured), samples)


def test_names_that_are_taken_are_avoided(graph: ir.Model, samples: list[Sample]) -> None:
    model = graph.clone()
    name, first = model.graph.inputs[0].name, next(iter(model.graph))
    assert first.inputs[1] is not None
    # What the quantizer would call the scale of the input, and its integers.
    first.inputs[1].name, first.outputs[0].name = f"{name}_scale", f"{name}_quantized"
    got = run(quantize(model, samples).model, samples[0])
    np.testing.assert_array_equal(got, run(quantize(graph, samples).model, samples[0]))


class Tokens(nn.Module):
    """Patches, a linear layer on N×T×C (a MatMul in ONNX) and a mean over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.mix = nn.Linear(8, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(nn.functional.hardswish(self.mix(tokens)).mean(1))


def test_a_linear_layer_on_tokens_is_integer_too(samples: list[Sample]) -> None:
    network = randomize_(Tokens(), shape=SHAPE)
    captured = capture_module(network, samples[0], ["output"], 20)
    float_graph = optimize(captured)
    result = quantize(float_graph, samples)
    assert counts(float_graph)["MatMul"] == 0  # with its bias it is a Gemm
    assert result.float_fallback == ()
    expected = np.stack([run(float_graph, sample) for sample in samples])
    got = np.stack([run(result.model, sample) for sample in samples])
    # Per-channel weights and four layers: about 35 dB.
    assert np.sum((expected - got) ** 2) < np.sum(expected**2) * 10**-2.5


def test_a_network_without_weights_is_quantized() -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) + x

    samples = [
        (np.random.default_rng(seed).normal(size=(1, 3, 8, 8)).astype("f4"),) for seed in (0, 1)
    ]
    captured = capture_module(Sum().eval(), samples[0], ["output"], 20)
    model = quantize(optimize(captured), samples).model
    assert any(node.op_type == "QuantizeLinear" for node in model.graph)


def test_attention_is_in_float_as_its_products_are() -> None:
    net = Net(opset=23)
    x = net.input("x", (1, 2, 6, 8))
    weight = np.random.default_rng(0).normal(0, 0.5, (8, 8)).astype(np.float32)
    q, k, v = (net.op("MatMul", x, net.constant(weight * factor)) for factor in (1, 2, 3))
    y = net.op("Attention", q, k, v)
    net.declared[y] = (1, 2, 6, 8)
    net.output(net.op("MatMul", y, net.constant(weight)))
    sample = np.random.default_rng(1).standard_normal((1, 2, 6, 8)).astype(np.float32)
    found = quantize(as_model(net.proto()), [[sample]])
    (left,) = found.float_fallback
    assert "multiplies two activations" in left
