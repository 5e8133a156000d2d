"""Functions that TFLite has no operator for, over the whole of their domains."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeconv.bundle import Layout
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators
from support.runtimes import run_onnx, run_tflite

UNIT = np.linspace(-1, 1, 41, dtype=np.float32)
WIDE = np.linspace(-6, 6, 49, dtype=np.float32)
DOMAINS = {
    "Acos": UNIT,
    "Acosh": np.linspace(1, 50, 40, dtype=np.float32),
    "Asin": UNIT,
    "Asinh": WIDE,
    "Atan": WIDE,
    "Atanh": UNIT * np.float32(0.99),
    "Celu": WIDE,
    "Cosh": WIDE,
    "Shrink": WIDE,
    "Sinh": WIDE,
}


@pytest.mark.parametrize("name", DOMAINS)
def test_function(name: str) -> None:
    attributes = {"Celu": {"alpha": 1.7}, "Shrink": {"lambd": 1.3, "bias": 0.4}}.get(name, {})
    x = DOMAINS[name].reshape(1, -1)
    net = Net()
    net.output(net.op(name, net.input("x", x.shape), **attributes))
    check(net, {"x": x})


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("IsNaN", {}),
        ("IsInf", {}),
        ("IsInf", {"detect_negative": 0}),
        ("IsInf", {"detect_positive": 0}),
    ],
)
def test_what_is_no_number(name: str, attributes: dict[str, int]) -> None:
    net = Net()
    x = np.array([[0, np.nan, np.inf, -np.inf, -3]], np.float32)
    net.output(net.op(name, net.input("x", x.shape), **attributes))
    assert run_onnx(net.proto(), {"x": x})["v0_0"].any()
    check(net, {"x": x})


@pytest.mark.parametrize("name", ["ReduceL1", "ReduceLogSum", "ReduceLogSumExp"])
@pytest.mark.parametrize("axes", [(1,), (2, 3), (0, 1, 2, 3)])
def test_reduction(name: str, axes: tuple[int, ...]) -> None:
    net = Net()
    shape = (2, 3, 4, 5)
    x = np.random.default_rng(0).uniform(0.5, 60, shape).astype(np.float32)
    net.output(net.op(name, net.input("x", shape), net.constant(axes)))
    check(net, {"x": x})


def test_the_mean_of_several() -> None:
    net = Net()
    x, y = net.input("x", (2, 3, 4, 5)), net.input("y", (3, 1, 5))
    net.output(net.op("Mean", x, y, net.op("Abs", x)))
    rng = np.random.default_rng(0)
    feeds = {"x": rng.normal(size=(2, 3, 4, 5)), "y": rng.normal(size=(3, 1, 5))}
    check(net, {name: array.astype(np.float32) for name, array in feeds.items()})


@pytest.mark.parametrize("shape", [(2, 7, 3, 4), (1, 5, 6, 1)])
def test_local_response_normalization(shape: tuple[int, ...]) -> None:
    net = Net()
    net.output(net.op("LRN", net.input("x", shape), size=5, alpha=0.3, beta=0.6, bias=2.0))
    x = np.random.default_rng(0).normal(0, 3, shape).astype(np.float32)
    lowered = check(net, {"x": x})
    assert "LOCAL_RESPONSE_NORMALIZATION" in operators(lowered)


@pytest.mark.parametrize("scale", [3, 1e-6])
def test_mean_variance_normalization(scale: float) -> None:
    """No epsilon stands beside the variance: small inputs are not lost."""
    net = Net()
    net.output(net.op("MeanVarianceNormalization", net.input("x", (2, 3, 4, 5)), axes=(0, 2, 3)))
    x = np.random.default_rng(0).normal(scale / 3, scale, (2, 3, 4, 5))
    check(net, {"x": x.astype(np.float32)})


@given(
    st.sampled_from(["Acosh", "Asinh", "Atanh", "Cosh", "Elu", "Sinh", "Tan"]),
    st.floats(-30, 19),
    st.sampled_from([-1.0, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_every_magnitude_is_as_precise(name: str, exponent: float, sign: float) -> None:
    """Each value has an error relative to itself, so that small ones are right too."""
    with np.errstate(over="ignore"):
        small = np.float32(sign * 10**exponent) * np.linspace(0.2, 1, 9, dtype=np.float32)
    x = {
        "Acosh": 1 + np.abs(small),
        "Atanh": np.tanh(small) * np.float32(0.999),
        "Cosh": np.clip(small, -88.8, 88.8),
        "Sinh": np.clip(small, -88.8, 88.8),
        "Tan": np.clip(small, -1.5, 1.5),
    }.get(name, small)[None]
    net = Net()
    net.output(net.op(name, net.input("x", x.shape)))
    (got,) = run_tflite(lower(as_model(net.proto()), layout=Layout.NCHW).data, {"x": x}).values()
    exact = x.astype(np.float64)
    expected = np.expm1(np.minimum(exact, 0)) + np.maximum(exact, 0)
    if name != "Elu":
        expected = getattr(np, name.lower().replace("a", "arc", name[0] == "A"))(exact)
    # XNNPACK reduces the arguments of exp with an error that grows with them.
    amplified = {"Cosh": np.abs(exact), "Sinh": np.abs(exact)}
    reduction = 2.0**-24 * amplified.get(name, np.float64(0))
    assert (np.abs(got - expected) <= (1e-6 + reduction) * np.abs(expected) + 1e-37).all()


def test_a_tangent_beside_its_poles_and_zeros() -> None:
    """Sine and cosine of x itself are off by 2e-7, which is as large as they are there."""
    quarters = np.arange(-7000, 7000, 13) * (np.pi / 2)
    rng = np.random.default_rng(0)
    x = (quarters + 10 ** rng.uniform(-6, 0, quarters.shape)).astype(np.float32)[None]
    net = Net()
    net.output(net.op("Tan", net.input("x", x.shape)))
    (got,) = run_tflite(lower(as_model(net.proto()), layout=Layout.NCHW).data, {"x": x}).values()
    # Seen: 4e-7.
    np.testing.assert_allclose(got, np.tan(x.astype(np.float64)), rtol=1e-6)
