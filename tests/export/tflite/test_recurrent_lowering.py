"""LSTM, GRU and RNN against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from support.lowering import Net, as_model, check, operators, smooth

pytestmark = pytest.mark.slow

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 6, 3


def recurrent(
    kind: str,
    *,
    direction: str = "forward",
    states: bool = False,
    peepholes: bool = False,
    **attributes: object,
) -> Net:
    sides, gates = (2 if direction == "bidirectional" else 1), GATES[kind]
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.6, shape).astype(np.float32)

    net = Net()
    inputs = [
        net.input("x", (STEPS, BATCH, FEATURES)),
        net.constant(weight(sides, gates * HIDDEN, FEATURES)),
        net.constant(weight(sides, gates * HIDDEN, HIDDEN)),
        net.constant(weight(sides, 2 * gates * HIDDEN)),
    ]
    if states:
        names = ["h", "c"][: 2 if kind == "LSTM" else 1]
        inputs += ["", *(net.input(name, (sides, BATCH, HIDDEN)) for name in names)]
    if peepholes:
        inputs += ["", "", "", net.constant(weight(sides, 3 * HIDDEN))]
    count = 3 if kind == "LSTM" else 2
    results = net.op(
        kind, *inputs, outputs=count, hidden_size=HIDDEN, direction=direction, **attributes
    )
    return net.output(*results)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", [False, True])
def test_directions_and_states(kind: str, direction: str, states: bool) -> None:
    net = recurrent(kind, direction=direction, states=states)
    shapes = {item.name: item.type.tensor_type.shape.dim for item in net.inputs}
    feeds = {
        name: smooth([dim.dim_value for dim in dims], seed)
        for seed, (name, dims) in enumerate(shapes.items())
    }
    # The first output has four dimensions, which TFLite's layout would permute.
    names = operators(check(net, feeds))
    assert names.count("FULLY_CONNECTED") >= STEPS


@pytest.mark.parametrize("linear", [0, 1])
def test_the_reset_of_a_gru(linear: int) -> None:
    net = recurrent("GRU", linear_before_reset=linear)
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


def test_activations() -> None:
    net = recurrent("LSTM", activations=["Sigmoid", "Relu", "Tanh"])
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_peepholes(direction: str) -> None:
    net = recurrent("LSTM", direction=direction, peepholes=True)
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


@pytest.mark.parametrize("kind", GATES)
def test_limited_gates(kind: str) -> None:
    check(recurrent(kind, clip=0.4), {"x": smooth((STEPS, BATCH, FEATURES))})


def test_a_forget_gate_that_mirrors_the_input_gate() -> None:
    net = recurrent("LSTM", input_forget=1)
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


def test_refusals() -> None:
    model = as_model(recurrent("LSTM", activations=["Sigmoid", "Elu", "Tanh"]).proto())
    with pytest.raises(UnsupportedOperator, match="activations are Elu"):
        lower(model)
