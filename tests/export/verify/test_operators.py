"""Each integer operator is held against exact arithmetic on the same integers, and named if off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgeconv.bundle import Format, IoType, Precision
from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.precision import QuantizedGraph, make_variant
from edgeconv.export.quantize import QuantizeOptions, quantize
from edgeconv.export.verify.operators import SAMPLES, check_operators, run_exactly
from edgeconv.models.randomize import randomize_, structured_input
from edgeconv.verification import OperatorFigures

FORMATS = list(Format)
Samples = list[tuple[np.ndarray]]


class Residual(nn.Module):
    """A convolution, a block with a shortcut, attention-like products, a pool and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.Hardswish())
        self.branch = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + torch.relu(self.branch(x))
        flat = x.flatten(2)
        mixed = torch.softmax(flat @ flat.transpose(1, 2) * 0.1, -1) @ flat
        return self.head(mixed.mean(-1))


def inputs() -> Samples:
    shape = (1, 3, 16, 16)
    return [(structured_input(shape, seed=seed).numpy(),) for seed in range(4)]


def quantized(
    precision: Precision, change: Callable[[nn.Module], None] | None = None
) -> QuantizedGraph:
    network = randomize_(Residual(), shape=(3, 16, 16))
    if change is not None:
        change(network)
    samples = inputs()
    graph = optimize(capture_module(network, samples[0], ("y",), 18))
    variant = make_variant(precision, graph, quantize(graph, samples), IoType.FLOAT32)
    assert variant.checked is not None
    return variant.checked


def figures(format: Format, graph: QuantizedGraph) -> OperatorFigures:
    samples = inputs()
    exact = run_exactly(graph, samples)
    assert len(exact.outputs) == len(samples)
    assert len(exact.integers) == SAMPLES
    return check_operators(format, graph, samples, exact.integers)


@pytest.mark.parametrize(
    "precision", [Precision.INT8, pytest.param(Precision.INT16X8, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("format", FORMATS)
def test_right_operators_are_within_one_step(format: Format, precision: Precision) -> None:
    graph = quantized(precision)
    found = figures(format, graph)
    cuts = [n for n in graph.model.graph if n.op_type == "QuantizeLinear"]
    assert found.checked >= 0.9 * len(cuts) > 7
    assert found.failed == ()
    assert found.largest_steps <= (1 if precision is Precision.INT8 else 256)


@pytest.mark.parametrize("format", FORMATS)
def test_one_wrong_weight_is_found_at_its_operator(format: Format) -> None:
    """The operators behind it get right integers, so that they are not blamed."""
    graph = quantized(Precision.INT8)
    wrong = graph.model.clone()
    layer = next(n for n in wrong.graph if n.op_type == "Conv" and n.attributes.get_int("group", 1))
    weight = layer.inputs[1].producer().inputs[0]
    array = weight.const_value.numpy().copy()
    array.reshape(-1)[0] ^= 64
    weight.const_value = ir.tensor(array, name=weight.name)
    samples = inputs()
    exact = run_exactly(graph, samples)
    broken = replace(graph, model=wrong, lowered_from=wrong)
    found = check_operators(format, broken, samples, exact.integers)
    assert len(found.failed) == 1
    assert layer.name in found.failed[0]
    assert found.largest_at == found.failed[0]
    assert found.largest_steps > 1


@pytest.mark.parametrize("format", FORMATS)
def test_scores_near_zero_in_float_are_right(format: Format) -> None:
    """A detector that sees nothing: the runtimes' Sigmoids differ by 1 % of 2e-6."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid())
    torch.manual_seed(0)
    randomize_(network, shape=(3, 16, 16))
    nn.init.constant_(network[0].bias, -13.0)
    with torch.no_grad():
        network[0].weight.mul_(0.2)
    samples = inputs()
    graph = optimize(capture_module(network.eval(), samples[0], ("y",), 18))
    options = QuantizeOptions(effort=0, keep_float=("y",))
    variant = make_variant(Precision.INT8, graph, quantize(graph, samples, options), IoType.FLOAT32)
    assert variant.checked is not None
    assert "Sigmoid" in {node.op_type for node in variant.checked.model.graph}
    found = figures(format, variant.checked)
    assert found.checked > 0
    assert found.failed == ()


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_bias_far_above_its_input(format: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the scale of an int16 input it takes more than 32 bits, which ONNX does not have.

    Our own int8 biases leave room for that; those of other tools need not.
    """
    monkeypatch.setattr("edgeconv.export.quantize.parameters._MAX_BIAS", 2**30)

    def shift(network: nn.Module) -> None:
        with torch.no_grad():
            network.head.bias.add_(2000)
            network.stem[1].weight.mul_(1e-3)
            network.stem[1].bias.mul_(1e-3)

    graph = quantized(Precision.INT16X8, shift)
    layer = [n for n in graph.model.graph if n.op_type in ("Gemm", "MatMul")][-1]
    assert len(layer.inputs) < 3 or layer.inputs[2] is None
    assert figures(format, graph).failed == ()


@pytest.mark.slow
def test_scales_found_at_run_time_leave_nothing_to_cut_at() -> None:
    graph = quantized(Precision.INT8_DYNAMIC)
    assert run_exactly(graph, inputs()).integers == []


@pytest.mark.parametrize("behind", ["Identity", "Sigmoid"])
def test_a_body_that_rounds_is_not_held_to_a_float(behind: str, tmp_path: Path) -> None:
    """A step of the integers within it was taken for an error of what is computed in float."""
    rng = np.random.default_rng(0)
    constants = {
        # One sum of 200 lies between two steps, but for the rounding of the scales.
        **{"s": np.float32(0.05), "z": np.uint8(120), "t": np.float32(0.1), "o": np.uint8(130)},
        "w": rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
        "v": np.full(8, 0.01, np.float32),
        "none": np.float32(0),
    }

    def branch(name: str, *after: str) -> onnx.GraphProto:
        nodes = [
            helper.make_node("DequantizeLinear", ["w", "v"], [f"{name}_w"], axis=0),
            helper.make_node("Conv", ["r", f"{name}_w"], [f"{name}_0"]),
        ]
        for index, operator in enumerate(after):
            names = [f"{name}_{index}"], [f"{name}_{index + 1}"]
            nodes.append(helper.make_node(operator, *names))
        codes = [f"{name}_{len(after)}", "t", "o"], [f"{name}_q"]
        nodes.append(helper.make_node("QuantizeLinear", *codes))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", "t", "o"], [name]))
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 14, 14])
        return helper.make_graph(nodes, name, [], [result])

    branches = {"then_branch": branch("then"), "else_branch": branch("else", "Relu")}
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["r"]),
            helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "none"], ["c"]),
            helper.make_node("If", ["c"], ["b"], **branches),
            helper.make_node(behind, ["b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 14, 14])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    file = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), file)
    bundle = export(file, out=tmp_path / "bundle", calibration=[x for (x,) in inputs()])
    assert {artifact.format for artifact in bundle.manifest.artifacts} == set(FORMATS)
