"""Float files are judged by what float32 can promise: right files pass, wrong ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edgeconv.bundle import Artifact, Precision
from edgeconv.errors import VerificationError
from edgeconv.export import Bundle, Format, export
from edgeconv.export.capture.input_shape import InputShape
from edgeconv.export.capture.module import capture_module
from edgeconv.export.passes import optimize, simplification
from edgeconv.export.passes.split_outputs import Splits
from edgeconv.export.verify.bundle import verify_bundle
from edgeconv.export.verify.expected import Probes, Reference
from edgeconv.export.verify.failure import failure
from edgeconv.export.verify.float64 import (
    file_in_float64,
    float32_allowances,
    module_in_float64,
)
from edgeconv.export.verify.functions import moves_by_functions
from edgeconv.export.verify.parity import compare
from edgeconv.export.verify.reference import module_outputs
from edgeconv.export.verify.rounding import allowances, largest_error, moved
from edgeconv.models.randomize import structured_input
from support.lowering import Net, as_model
from support.runtimes import run_onnx


class Unlit(nn.Module):
    """A detector that sees nothing: all scores are about 2e-6, where a runtime's Sigmoid is off by
    a large part of them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        nn.init.constant_(self.conv.bias, -13.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.conv(x))


def test_scores_near_zero_are_right(tmp_path: Path) -> None:
    bundle = export(Unlit(), out=tmp_path / "a", input_size=(3, 16, 16))
    (onnx,) = (bundle.file(a) for a in bundle.manifest.artifacts if a.format is Format.ONNX)
    again = export(onnx, out=tmp_path / "b")
    for artifact in (*bundle.manifest.artifacts, *again.manifest.artifacts):
        assert artifact.verification
        assert artifact.verification.passed
    assert all(
        figures.passed for figures in verify_bundle(Bundle.load(again.path)).artifacts.values()
    )


class FarBias(nn.Module):
    """A bias far above the 1280 products that are added to it, as in a network without training."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(1280, 1000)
        nn.init.normal_(self.head.bias, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(1e-5 * torch.relu(x))


def test_a_sum_may_begin_with_its_bias(tmp_path: Path) -> None:
    bundle = export(FarBias(), out=tmp_path / "out", input_size=(1, 1280))
    for artifact in bundle.manifest.artifacts:
        assert artifact.verification
        assert artifact.verification.passed


@given(
    st.sampled_from(["Gemm", "Conv", "MatMul", "ReduceMean", "ReduceSum"]),
    st.integers(2, 2000),
    st.floats(-6, 6),
    st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_sums_of_any_order_are_allowed(
    operator: str, count: int, exponent: float, seed: int
) -> None:
    """Added one by one in float32, bias first, a sum is within the floor of the allowance."""
    rng = np.random.default_rng(seed)
    net, x = Net(), rng.standard_normal((1, count)).astype(np.float32)
    weights = (10**exponent * rng.standard_normal((count, 1))).astype(np.float32)
    bias = np.array([rng.standard_normal()], np.float32)
    if operator == "Conv":
        y = net.op("Reshape", net.input("x", x.shape), net.constant((1, count, 1)))
        y = net.op("Conv", y, net.constant(weights.T[:, :, None]), net.constant(bias))
    elif operator == "Gemm":
        y = net.op(
            "Gemm", net.input("x", x.shape), net.constant(weights.T), net.constant(bias), transB=1
        )
    elif operator == "MatMul":
        y, bias = net.op("MatMul", net.input("x", x.shape), net.constant(weights)), None
    else:
        y, bias, weights = net.op(operator, net.input("x", x.shape)), None, np.ones((count, 1))
        weights = (weights / (count if operator == "ReduceMean" else 1)).astype(np.float32)
    net.output(y)
    model = as_model(net.proto())
    terms = (x * weights.T).ravel()
    first = 0.0 if bias is None else float(bias[0])
    total = np.float32(first)
    for term in terms:
        total = np.float32(total + term)
    exact = (x.astype(np.float64) @ weights.astype(np.float64)).item() + first
    # The run itself is exact here, so that only the floor counts.
    outputs = {0: [np.full((1, 1), exact)]}
    (allowed,) = allowances(model, [(x,)], outputs, [outputs]).ravel()
    assert abs(float(total) - exact) <= allowed


@pytest.mark.parametrize("seed", range(3))
def test_a_log_softmax_keeps_the_rounding_of_the_product_before_it(seed: int) -> None:
    """Each score may be off by the rounding of 4096 terms, however near zero the results are."""
    rng = np.random.default_rng(seed)
    x = (1000 * rng.standard_normal((1, 4096))).astype(np.float32)
    weights = rng.standard_normal((4096, 3)).astype(np.float32)
    net = Net()
    y = net.op("MatMul", net.input("x", x.shape), net.constant(weights))
    net.output(net.op("LogSoftmax", net.op("Reshape", y, net.constant(np.array([1, 3]))), axis=1))

    def log_softmax(scores: np.ndarray) -> np.ndarray:
        return np.asarray(torch.log_softmax(torch.from_numpy(scores), -1).numpy())

    exact = log_softmax(x.astype(np.float64) @ weights.astype(np.float64))
    scores = np.zeros((1, 3), np.float32)
    for row, term in zip(weights, x[0], strict=True):
        scores += row * term
    # The run itself is exact here, so that only the floor counts.
    outputs = {0: [exact]}
    (allowed,) = allowances(as_model(net.proto()), [(x,)], outputs, [outputs]).ravel()
    assert largest_error(log_softmax(scores), exact) <= allowed


def test_allowances_measured_on_few_samples_are_no_larger() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).eval()
    example = structured_input((1, 3, 8, 8), 0).numpy()
    graph = optimize(capture_module(network, (example,), ["y"], 20))
    samples = [(scale * structured_input((1, 3, 8, 8), scale).numpy(),) for scale in range(1, 9)]

    def oracle(sample: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        return list(module_outputs(network, sample).values())

    outputs = [oracle(sample) for sample in samples]
    by_few, by_all = (
        float32_allowances(graph, network, oracle, Splits.none(graph), samples, outputs, measured)
        for measured in ([0, 7], range(8))
    )
    assert by_few is not None
    assert by_all is not None
    assert by_few.shape == by_all.shape == (8, 1)
    # Magnitudes come from float32 in one case and from float64 in the other.
    assert (by_few <= by_all * (1 + 1e-6)).all()
    assert (by_few > by_all / 8).all()  # of the same order: eight times is what the factor covers


class Inverse(nn.Module):
    """artanh amplifies the last place of a tanh near 1, which runtimes round differently."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atanh(torch.tanh(x))


def test_functions_may_be_off_by_a_unit(tmp_path: Path) -> None:
    bundle = export(Inverse(), out=tmp_path / "out", input_size=(8, 16))
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


@pytest.mark.parametrize(
    "activation", [nn.ELU(1.5), pytest.param(nn.SELU(), marks=pytest.mark.slow)]
)
def test_kernels_that_subtract_from_an_exponential_are_right(
    activation: nn.Module, tmp_path: Path
) -> None:
    """ONNX Runtime computes exp(x) - 1, which keeps few digits of a probe of 1e-6."""
    bundle = export(activation, out=tmp_path / "out", input_size=InputShape((2, 8)))
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)
    # And a layer without a bias passes the error on.
    layers = nn.Sequential(activation, nn.Linear(8, 4, bias=False))
    assert export(layers, out=tmp_path / "layers", input_size=InputShape((2, 8)))


@pytest.mark.parametrize("size", [30, 64])
def test_a_mean_of_values_that_are_all_alike_is_right(size: int, tmp_path: Path) -> None:
    """On inputs of a millionth a biased convolution writes hundreds of nearly equal values.

    A sum one after the other drifts by tens of units there, and a layer behind it shows that.
    """
    torch.manual_seed(1)
    layers = nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    )
    bundle = export(layers, out=tmp_path / "out", input_size=(3, size + 2, size + 2))
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


@pytest.mark.slow  # three exports
@pytest.mark.parametrize("kind", ["conv", "conv 1d", "transposed"])
def test_a_normalization_that_takes_a_bias_off_is_right(kind: str, tmp_path: Path) -> None:
    """On inputs of a millionth a biased sum rounds in units of the bias, which is then taken off.

    Networks that draw begin so: CycleGAN, pix2pix, style transfer.
    """
    torch.manual_seed(0)
    layers, shape = {
        "conv": ([nn.Conv2d(3, 32, 7, stride=2, padding=3), nn.InstanceNorm2d(32)], (3, 64, 64)),
        "conv 1d": ([nn.Conv1d(64, 32, 5), nn.InstanceNorm1d(32)], (64, 40)),
        "transposed": (
            [nn.ConvTranspose2d(3, 16, 4, 2, 1), nn.InstanceNorm2d(16, affine=True)],
            (3, 32, 32),
        ),
    }[kind]
    bundle = export(
        nn.Sequential(*layers), out=tmp_path / "out", input_size=InputShape((1, *shape))
    )
    assert all(a.verification and a.verification.passed for a in bundle.manifest.artifacts)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_a_bias_moves_its_channel_by_units_of_itself(operator: str) -> None:
    net = Net()
    weights = np.zeros((2, 100, 1) if operator == "Conv" else (100, 2), np.float32)
    bias, shape = np.array([0.0, 1.0], np.float32), (3, 100)
    if operator in ("Conv", "ConvTranspose"):
        shape = (1, 100, 3)
    if operator == "ConvTranspose":
        weights = weights[..., None]
    x = net.input("x", shape)
    if operator == "MatMul":
        made = net.op("Add", net.constant(bias), net.op("MatMul", x, net.constant(weights)))
    else:
        made = net.op(operator, x, net.constant(weights), net.constant(bias))
    net.output(made)
    ((moves,),) = moves_by_functions(as_model(net.proto()), [(np.ones(shape, np.float32),)])
    first, second = np.moveaxis(moves, 1, 0)[..., :]
    assert not first.any()
    # A hundred terms: sqrt(100) / 2 units of 2^-23, uniformly drawn.
    assert 1e-8 < np.abs(second).max() <= 5.001 * 2.0**-23


def test_only_what_a_function_moves_is_added() -> None:
    net = Net()
    near = net.op("Tanh", net.input("x", (1, 3)))
    net.output(net.op("Mul", net.op("Atanh", near), net.constant(np.float32(2))))
    net.output(net.op("Add", "x", "x"))
    x = np.array([[1e-3, 6.0, 100.0]], np.float32)
    ((first, second),) = moves_by_functions(as_model(net.proto()), [(x,)])
    assert 0 < np.abs(first[0, 0]) < 1e-9
    assert 1e-6 < np.abs(first[0, 1]) < 0.1  # e^12 / 4 times a unit
    assert first[0, 2] == 0.0  # infinite
    assert not second.any()


class Logarithm(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x * x + 1e-10)


def test_a_lost_epsilon_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The fault of optimizers with an absolute tolerance, put back in.
    monkeypatch.setitem(
        simplification._NEUTRAL, "Add", (lambda array: bool(np.all(np.abs(array) < 1e-8)), True)
    )
    with pytest.raises(VerificationError, match="more than float32 rounding"):
        export(Logarithm(), out=tmp_path / "out", input_size=(8,))


def test_an_overflow_allows_nothing_elsewhere() -> None:
    """Sample 1 overflows once its inputs move, and an element of sample 2 in float32 alone."""
    net = Net()
    net.output(net.op("Exp", net.input("x", (1, 2))))
    samples = [(np.array([row], np.float32),) for row in ([1, 2], [1, 88.72283], [1, 100])]
    double = {i: [np.exp(x.astype(np.float64))] for i, (x,) in enumerate(samples)}
    with np.errstate(over="ignore"):
        runs = {i: [np.exp(x)] for i, (x,) in enumerate(samples)}
        again = {i: [np.exp(x * np.float32(1 + 2e-7))] for i, (x,) in enumerate(samples)}
    assert np.isinf(again[1][0]).any()
    assert np.isinf(runs[2][0]).any()
    allowed = allowances(as_model(net.proto()), samples, double, [runs, again])[:, 0]
    assert allowed[0] < 1e-4
    assert np.isinf(allowed[1])  # any right program may overflow here
    assert allowed[2] < 1e-3


@pytest.mark.parametrize(("got", "by"), [(7.0, "by 7 of"), (np.inf, "by NaN or infinity on")])
def test_a_failure_on_a_probe_says_so(got: float, by: str) -> None:
    sample = (np.ones((1, 2), np.float32),)
    outputs = [np.array([[0, 1]], np.float32)]
    reference = Reference(
        "pytorch", [sample], [outputs], probes=Probes([sample], [outputs], ["a millionth as large"])
    )
    figures = compare(
        [outputs, [np.array([[got, 1]], np.float32)]], reference, Precision.FLOAT32, "LiteRT"
    )
    assert not figures.passed
    artifact = Artifact.model_construct(path="y.tflite", precision=Precision.FLOAT32)
    message = failure(artifact, figures, reference.runtime).message
    assert message.startswith(f"y.tflite differs from pytorch {by}")
    assert "on inputs a millionth as large, more than float32 rounding explains" in message


def test_both_ways_to_float64_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(8 * 64, 5),
        nn.Softmax(-1),
    ).eval()
    bundle = export(network, out=tmp_path / "out", input_size=(3, 16, 16), formats=[Format.ONNX])
    samples = [(structured_input((1, 3, 16, 16), seed).numpy(),) for seed in range(3)]
    module = module_in_float64(network, samples)
    file = file_in_float64(bundle.file(bundle.manifest.artifacts[0]), samples)
    assert module is not None
    assert file is not None
    for (a,), (b,) in zip(module, file, strict=True):
        assert a.dtype == b.dtype == np.float64
        # The file's weights are float32 and its batch norm is folded in float32.
        assert largest_error(a, b) < 1e-6


def test_a_module_of_fixed_types_has_no_float64() -> None:
    class Fixed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.Tensor([[1.0] * 8] * 8)  # made in native code

    assert module_in_float64(Fixed(), [(np.zeros((1, 8), np.float32),)]) is None
    assert torch.get_default_dtype() == torch.float32


def test_moving_stays_within_a_unit_in_the_last_place() -> None:
    x = structured_input((1, 3, 8, 8)).numpy()
    (y,) = moved((x,))
    assert y.dtype == x.dtype
    assert np.any(x != y)
    # Twice: the product itself is rounded once more.
    assert np.all(np.abs(x - y) <= 2 * np.spacing(np.abs(x)))


def test_a_number_in_the_place_of_an_infinity_does_not_count() -> None:
    expected = np.array([1.0, np.inf, np.nan])
    assert largest_error(np.array([1.5, 7.0, 7.0]), expected) == 0.5
    assert largest_error(np.array([np.nan, np.inf, 0.0]), expected) == np.inf


def test_a_reference_that_computes_something_else_allows_nothing() -> None:
    """ONNX Runtime takes an axis of scale 1 whole, and ONNX's reference implementation a part."""
    net = Net()
    x = structured_input((1, 3, 8, 8)).numpy()
    roi = net.constant(np.array([0, 0, 0.2, 0.1, 1, 1, 0.7, 0.8], np.float32))
    y = net.op(
        "Resize",
        net.input("x", x.shape),
        roi,
        "",
        net.constant((1, 3, 8, 5)),
        mode="nearest",
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    proto = net.output(y).proto()
    outputs = [*run_onnx(proto, {"x": x}).values()]
    graph = as_model(proto)
    data = proto.SerializeToString()
    allowed = float32_allowances(
        graph, data, lambda sample: outputs, Splits.none(graph), [(x,)], [outputs], [0]
    )
    assert allowed is not None
    # The floor of rounding; the two differ by more than 0.1.
    assert allowed.max() < 1e-5
