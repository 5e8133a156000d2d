"""Every network of the zoo against its card. A network is tested because it is registered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from edgeconv import models
from edgeconv.models.cost import network_cost
from edgeconv.models.early_exit import EarlyExitNetwork
from edgeconv.models.randomize import randomize_, structured_input

pytestmark = pytest.mark.slow

NAMES = models.list_models()

# Digests of "key [shape]" lines, sorted, of torchvision 0.29's own networks.
LAYOUT = json.loads(Path(__file__).with_name("torchvision_layout.json").read_text("utf-8"))


def small(name: str) -> dict[str, int]:
    """Options that keep a network quick: small images where it takes any size."""
    return {"input_size": 64} if "input_size" in models.model_options(name) else {}


def outputs(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_on_the_card(name: str) -> None:
    with torch.device("meta"):
        network = models.create_model(name)
    card = models.model_info(name)
    cost = network_cost(network, card.input_shape)
    assert (cost.parameters, cost.macs, cost.receptive_field) == (
        card.parameters,
        card.macs,
        card.receptive_field,
    )
    # Nothing is counted twice or left out on the way from layers to the whole.
    assert sum(layer.parameters for layer in cost.layers) == card.parameters


@pytest.mark.parametrize("name", NAMES)
def test_macs_are_those_of_pytorchs_counter(name: str) -> None:
    with torch.device("meta"):
        network = models.create_model(name)
        x = torch.zeros(1, *models.input_shape(name))
    with FlopCounterMode(display=False) as counter:
        network(x)
    # PyTorch counts a multiplication and an addition as two operations.
    assert counter.get_total_flops() == 2 * models.model_info(name).macs


@pytest.mark.parametrize("name", NAMES)
def test_output_and_gradient(name: str) -> None:
    options = small(name)
    shape = models.input_shape(name, **options)
    network = randomize_(models.create_model(name, **options), shape=shape)
    y = outputs(network(structured_input((2, *shape), seed=5)))
    assert len(y) == len(models.model_info(name).outputs)
    for out in y:
        assert torch.isfinite(out).all()
        # The two inputs differ, so must the outputs. 0.1 to 1.4 is usual for these networks.
        assert (out[0] - out[1]).std() > 0.03 * out.std()
    classes = models.model_info(name).num_classes
    if classes is not None:
        assert all(out.shape[:2] == (2, classes) for out in y)
    torch.stack([out.square().mean() for out in y]).sum().backward()
    first = next(network.parameters()).grad
    assert first is not None
    assert torch.isfinite(first).all()
    assert first.abs().max() > 0
    silent = [key for key, value in network.named_parameters() if value.grad is None]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_options_change_the_network(name: str) -> None:
    options: dict[str, object] = dict(small(name))
    wanted = {"in_channels": 2, "num_classes": 3, "dropout": 0.25}
    options |= {k: v for k, v in wanted.items() if k in models.model_options(name)}
    with torch.device("meta"):
        network = models.create_model(name, **options)
        y = outputs(network(torch.zeros(1, *models.input_shape(name, **options))))
    if "num_classes" in options:
        assert all(out.shape[1] == 3 for out in y)
    if "dropout" in options:
        dropouts = [m.p for m in network.modules() if isinstance(m, nn.Dropout | nn.Dropout2d)]
        assert any(dropouts)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if "width_mult" in models.model_options(n) and n[-1] not in "1234"]
)
def test_width_multiplier_narrows(name: str) -> None:
    with torch.device("meta"):
        narrow = models.create_model(name, width_mult=0.125)
        x = torch.zeros(1, *models.input_shape(name))
        narrow(x)
    count = sum(parameter.numel() for parameter in narrow.parameters())
    assert count < models.model_info(name).parameters


@pytest.mark.parametrize("name", LAYOUT)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    options = {"aux_logits": True} if name == "googlenet" else {}
    with torch.device("meta"):
        state = models.create_model(name, **options).state_dict()
    lines = sorted(f"{key} {list(value.shape)}" for key, value in state.items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert (len(lines), digest) == (LAYOUT[name]["tensors"], LAYOUT[name]["sha256"])


def test_auxiliary_heads_speak_in_training_only() -> None:
    network = models.create_model("googlenet", aux_logits=True, num_classes=5, input_size=64)
    x = structured_input((2, 3, 64, 64))
    assert network(x).shape == (2, 5)
    network.train()
    assert [out.shape for out in network(x)] == [(2, 5)] * 3


@pytest.mark.parametrize("name", models.list_models("*early_exit"))
def test_the_chain_computes_what_the_whole_computes(name: str) -> None:
    network = randomize_(models.create_model(name, num_classes=4), shape=(3, 64, 64))
    assert isinstance(network, EarlyExitNetwork)
    x = structured_input((1, 3, 64, 64), seed=2)
    with torch.no_grad():
        whole = network(x)
        features, chained = x, []
        *stages, last = network.chain()
        for stage in stages:
            features, logits = stage(features)
            chained.append(logits)
        chained.append(last(features))
        for expected, got in zip(whole, chained, strict=True):
            torch.testing.assert_close(got, expected)
        # Confidence 0 leaves at the first exit; above 1 nothing leaves early.
        assert network.infer(x, 0.0)[1] == 0
        logits, index = network.infer(x, 1.1)
    assert index == len(whole) - 1
    torch.testing.assert_close(logits, whole[-1])


def test_every_family_registers_a_network() -> None:
    folder = Path(models.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if "@register(" in path.read_text("utf-8")}
    assert modules == {family.__name__.rpartition(".")[2] for family in models.FAMILIES}
