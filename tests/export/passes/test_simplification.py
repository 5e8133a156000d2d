"""Simplification is exact: the graph gives the same bits before and after, for every input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from edgeconv.bundle import Format
from edgeconv.export import export
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize
from edgeconv.export.passes.simplification import NoOpArithmetic, Simplify
from support.runtimes import run_onnx, run_tflite

PROBES = np.array(
    [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 1e-8, 3e38, np.inf, -np.inf, 0.1, 1234.5], np.float32
)


def graph(body: str, constants: str = "") -> ir.Model:
    return ir.from_onnx_text(
        f'<ir_version: 9, opset_import: ["" : 20]>\n'
        f"g (float[{len(PROBES)}] x) => (float[{len(PROBES)}] y)\n"
        f"<{constants}>\n{{ {body} }}"
    )


def bits(model: ir.Model) -> bytes:
    """The bits of the result on ONNX Runtime, with its own optimizer off."""
    result: bytes = run_onnx(model, PROBES)["y"].tobytes()
    return result


@given(
    operator=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    constant=st.one_of(
        st.sampled_from([0.0, 1.0, 1e-10, 1e-8, 1 + 2**-23, 1 - 2**-24, 1e-38]),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    swapped=st.booleans(),
)
def test_arithmetic_keeps_its_bits(operator: str, constant: float, swapped: bool) -> None:
    operands = "c, x" if swapped else "x, c"
    stated = f"float c = {{{np.float32(constant)!r}}}".replace("np.float32(", "").replace(")", "")
    model = graph(f"y = {operator}({operands})", stated)
    before = bits(model)
    Simplify()(model)
    assert bits(model) == before


@pytest.mark.parametrize(
    ("body", "constant", "goes"),
    [
        ("y = Mul(x, c)", "1.0", True),
        ("y = Mul(c, x)", "1.0", True),
        ("y = Div(x, c)", "1.0", True),
        ("y = Sub(x, c)", "0.0", True),
        ("y = Add(x, c)", "-0.0", True),
        ("y = Add(x, c)", "0.0", False),  # -0 becomes 0
        ("y = Add(x, c)", "1e-10", False),
        ("y = Mul(x, c)", "1.000001", False),
        ("y = Sub(c, x)", "0.0", False),
        ("y = Div(c, x)", "1.0", False),
    ],
)
def test_only_what_changes_nothing_goes(body: str, constant: str, goes: bool) -> None:
    model = graph(body, f"float c = {{{constant}}}")
    assert NoOpArithmetic()(model).modified is goes


@pytest.mark.parametrize("bounds", [(0.0, 1.0, 2.0, 3.0), (-3.0, -1.0, 0.0, 9.0)])
def test_clips_whose_bounds_do_not_meet_stay(bounds: tuple[float, ...]) -> None:
    names = "abcd"
    constants = ", ".join(
        f"float {name} = {{{value}}}" for name, value in zip(names, bounds, strict=True)
    )
    model = graph("t = Clip(x, a, b)\n y = Clip(t, c, d)", constants)
    before = bits(model)
    Simplify()(model)
    assert bits(model) == before


class LogOfRelu(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.relu(x) + 1e-10)


class LogOfSquare(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x * x + 1e-10)


@pytest.mark.parametrize("network", [LogOfRelu(), LogOfSquare()])
def test_an_epsilon_behind_a_logarithm_stays(network: nn.Module, tmp_path: Path) -> None:
    bundle = export(network, out=tmp_path / "out", input_size=(8,))
    zeros = np.zeros((1, 8), np.float32)
    # float32 holds 1e-10 to 6e-8 of it, and a logarithm of -23 to 2e-6.
    expected = np.full((1, 8), np.log(1e-10), np.float32)
    for artifact in bundle.manifest.artifacts:
        path = bundle.file(artifact)
        onnx = artifact.format is Format.ONNX
        outputs = run_onnx(path, zeros, fused=True) if onnx else run_tflite(path, zeros)
        (got,) = outputs.values()
        np.testing.assert_allclose(got, expected, rtol=2e-7)


class Standardized(nn.Conv2d):
    """Weight standardization (Qiao et al. 2019, arXiv:1903.10520), as NFNets have it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(flat, None, None, training=True, momentum=0.0)
        return functional.conv2d(x, weight.reshape_as(self.weight), self.bias, padding=1)


def test_a_weight_that_is_computed_from_constants_is_folded_whatever_its_size() -> None:
    """A computed weight runs at every inference, and is not a weight to the quantizer."""
    torch.manual_seed(0)
    layer = Standardized(32, 64, 3, padding=1).eval()
    x = torch.randn(1, 32, 8, 8)
    model = optimize(capture_module(layer, (x.numpy(),), ("y",), 18))
    assert [node.op_type for node in model.graph] == ["Conv"]
    expected = layer(x).detach().numpy()
    (got,) = run_onnx(model, x.numpy()).values()
    # Means over 288 weights and sums over as many products, in float32.
    np.testing.assert_allclose(got, expected, rtol=0, atol=288 * 2**-23 * np.abs(expected).max())


def test_what_folding_would_blow_up_stays_computed() -> None:
    model = graph(
        "e = Expand(c, shape) m = ReduceMax<keepdims=0>(e) y = Add(x, m)",
        "float[1] c = {1.5}, int64[2] shape = {1000, 1000}",
    )
    Simplify()(model)
    assert "Expand" in [node.op_type for node in model.graph]


def test_pads_that_are_computed_from_constants_are_folded() -> None:
    """PyTorch's exporter of TorchScript writes them so, for any number of dimensions."""
    model = graph(
        "z = ConstantOfShape<value = int64[1] {0}>(two) p = Concat<axis=0>(left, z) "
        "q = Slice(p, zero, stop) d = Pad(x, q) y = Slice(d, left, stop2)",
        "int64[1] two = {2}, int64[1] left = {3}, int64[1] zero = {0}, int64[1] stop = {2},"
        f" int64[1] stop2 = {{{len(PROBES) + 3}}}",
    )
    before = bits(model)
    Simplify()(model)
    assert model.graph[0].op_type == "Pad"
    assert bits(model) == before


class SeveralBounds(nn.Module):
    """Clamps of one value whose bounds are buffers, as in the linear layers of Gemma's vision."""

    def __init__(self) -> None:
        super().__init__()
        for name, bound in (("one", 0.5), ("two", 0.25), ("three", 1.0)):
            self.register_buffer(f"least_{name}", torch.tensor(-bound))
            self.register_buffer(f"most_{name}", torch.tensor(bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x * 1.5
        one = torch.clamp(x, self.least_one, self.most_one)
        two = torch.clamp(x, self.least_two, self.most_two)
        return one + two * torch.clamp(x, self.least_three, self.most_three)


def test_clamps_of_one_value_keep_their_own_bounds() -> None:
    """They once had one name, which made a file that ONNX refuses, or could be wrong."""
    network, x = SeveralBounds().eval(), np.linspace(-1, 1, 18, dtype="f4").reshape(2, 9)
    model = optimize(capture_module(network, [x], ["y"], 20))
    onnx.checker.check_model(ir.to_proto(model))
    assert [node.op_type for node in model.graph].count("Clip") == 3
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(run_onnx(model, x)["y"], expected)


def test_a_small_table_is_folded_though_it_grows_on_the_way() -> None:
    """As the biases of Swin V2, which a small network computes from coordinates."""
    rng = np.random.default_rng(0)

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.last = nn.Linear(2, 600), nn.Linear(600, 1)
            points = rng.normal(size=(len(PROBES) * 40, 2)).astype(np.float32)
            self.register_buffer("points", torch.from_numpy(points))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            table = self.last(functional.relu(self.hidden(self.points)))
            return x + table.reshape(40, -1)

    sample = np.zeros((1, len(PROBES)), np.float32)
    model = optimize(capture_module(Table().eval(), (sample,), ("y",), 20))
    assert [node.op_type for node in model.graph] == ["Add"]
    # 288,000 elements in between are more than would be stored.
    assert sum(value.const_value.size for value in model.graph.initializers.values()) == 480
