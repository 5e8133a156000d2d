"""LSTM, GRU and RNN against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from edgeconv.errors import UnsupportedOperator
from edgeconv.export.tflite import lower
from edgeconv.export.tflite.ops.recurrent import DEFAULTS
from support.lowering import Net, as_model, check, operators, smooth
from support.runtimes import run_onnx

pytestmark = pytest.mark.slow

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 6, 3


def recurrent(
    kind: str,
    *,
    direction: str = "forward",
    states: bool = False,
    peepholes: bool = False,
    lengths: bool | list[int] = False,
    computed: bool = False,
    **attributes: object,
) -> Net:
    sides, gates = (2 if direction == "bidirectional" else 1), GATES[kind]
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.6, shape).astype(np.float32)

    net = Net()

    def parameter(name: str, *shape: int) -> str:
        return net.input(name, shape) if computed else net.constant(weight(*shape))

    inputs = [
        net.input("x", (STEPS, BATCH, FEATURES)),
        parameter("w", sides, gates * HIDDEN, FEATURES),
        parameter("r", sides, gates * HIDDEN, HIDDEN),
        parameter("b", sides, 2 * gates * HIDDEN),
        "",
    ]
    if lengths is True:
        inputs[4] = net.input("lengths", (BATCH,), TensorProto.INT32)
    elif lengths:
        inputs[4] = net.constant(np.array(lengths, np.int32))
    names = ["h", "c"][: 2 if kind == "LSTM" else 1]
    inputs += [net.input(name, (sides, BATCH, HIDDEN)) if states else "" for name in names]
    if peepholes:
        inputs.append(parameter("p", sides, 3 * HIDDEN))
    count = 3 if kind == "LSTM" else 2
    results = net.op(
        kind, *inputs, outputs=count, hidden_size=HIDDEN, direction=direction, **attributes
    )
    return net.output(*results)


def feeds_of(net: Net) -> dict[str, np.ndarray]:
    """A drawn array for each input, and lengths of which none is the full one."""
    feeds = {}
    for seed, item in enumerate(net.inputs):
        dims = [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        feeds[item.name] = smooth(dims, seed)
        if item.name == "lengths":
            feeds[item.name] = np.array([3, 1], np.int32)
    return feeds


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", [False, True])
def test_directions_and_states(kind: str, direction: str, states: bool) -> None:
    net = recurrent(kind, direction=direction, states=states)
    feeds = feeds_of(net)
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


@pytest.mark.parametrize(
    ("activations", "numbers"),
    [
        (["HardSigmoid", "Softplus", "Softsign"], {}),
        (["HardSigmoid", "Tanh", "ScaledTanh"], {"alpha": [0.3, 1.5], "beta": [0.4, 0.7]}),
        (["HardSigmoid", "LeakyRelu", "Affine"], {"alpha": [0.3, 0.2, 0.5], "beta": [0.4, 0.1]}),
        (["Sigmoid", "ThresholdedRelu", "Elu"], {"alpha": [0.2, 0.8]}),
        (["HardSigmoid", "Elu", "LeakyRelu"], {}),
    ],
)
@pytest.mark.parametrize("kind", GATES)
def test_all_activations_of_onnx(
    kind: str, activations: list[str], numbers: dict[str, list[float]]
) -> None:
    taken = activations[-len(DEFAULTS[kind]) :]
    stated = {f"activation_{name}": values for name, values in numbers.items()}
    net = recurrent(kind, activations=taken, **stated)
    check(net, feeds_of(net))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_peepholes(direction: str) -> None:
    net = recurrent("LSTM", direction=direction, peepholes=True)
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


@pytest.mark.parametrize("kind", GATES)
def test_limited_gates(kind: str) -> None:
    check(recurrent(kind, clip=0.4), {"x": smooth((STEPS, BATCH, FEATURES))})


def test_the_memory_of_an_lstm_is_not_limited() -> None:
    """``clip`` is for the gates: the memory is beyond it on its way to the output."""
    net = recurrent("LSTM", clip=0.2, states=True)
    feeds = feeds_of(net)
    feeds["c"] = np.full_like(feeds["c"], 20)
    check(net, feeds)
    memory = list(run_onnx(net.proto().SerializeToString(), feeds).values())[-1]
    assert np.abs(memory).max() > 0.2


def test_a_forget_gate_that_mirrors_the_input_gate() -> None:
    net = recurrent("LSTM", input_forget=1)
    check(net, {"x": smooth((STEPS, BATCH, FEATURES))})


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_computed_weights(kind: str, direction: str) -> None:
    net = recurrent(kind, direction=direction, computed=True)
    check(net, feeds_of(net))


def test_computed_peepholes() -> None:
    net = recurrent("LSTM", direction="bidirectional", computed=True, peepholes=True)
    check(net, feeds_of(net))


def test_a_computed_reset_of_a_gru() -> None:
    net = recurrent("GRU", linear_before_reset=1, computed=True)
    check(net, feeds_of(net))


@pytest.mark.parametrize("lengths", [True, [2, 5]])
@pytest.mark.parametrize("kind", GATES)
def test_sequences_of_different_lengths(kind: str, lengths: bool | list[int]) -> None:
    net = recurrent(kind, direction="bidirectional", states=True, lengths=lengths)
    check(net, feeds_of(net))


def test_refusals() -> None:
    unstated = as_model(recurrent("GRU", activations=["Sigmoid", "Affine"]).proto())
    with pytest.raises(UnsupportedOperator, match="Affine has no activation_alpha"):
        lower(unstated)
    model = as_model(recurrent("LSTM", activations=["Sigmoid", "Gelu", "Tanh"]).proto())
    with pytest.raises(UnsupportedOperator, match="activations are Gelu"):
        lower(model)
