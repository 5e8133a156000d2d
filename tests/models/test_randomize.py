"""The helper of all the tests: networks that are alive, inputs that look like images."""

import copy

import pytest
import torch

from edgeconv import models
from edgeconv.models.randomize import randomize_, structured_input


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet8"])
def test_the_output_depends_on_the_input(name: str) -> None:
    network = randomize_(models.create_model(name, input_size=64))
    x = structured_input((4, 3, 64, 64), seed=9)
    with torch.no_grad():
        y = network(x)
    # Measured: 0.28 to 0.50. A network whose input does not matter is below 0.001.
    assert (y - y.mean(dim=0)).std() > 0.05 * y.std()


def test_rounding_is_not_amplified_with_depth() -> None:
    network = randomize_(models.create_model("fastdepth"), shape=(3, 64, 64))
    exact = copy.deepcopy(network).double()
    x = structured_input((2, 3, 64, 64), seed=9)
    with torch.no_grad():
        error = network(x).double() - exact(x.double())
        deviation = exact(x.double()).std()
    # 37 layers of ReLU. Measured: 4e-6 of the standard deviation; 5e-5 with betas about zero.
    assert error.square().mean().sqrt() < 1.4e-5 * deviation


def test_the_seed_decides() -> None:
    first, again, other = (
        randomize_(models.create_model("resnet8"), seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert first["bn1.running_var"].min() > 0
    assert not torch.allclose(first["bn1.running_mean"], torch.zeros(16))


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 3, 1, 1), (2, 4, 50), (3, 640)])
def test_structured_inputs_are_finite_and_vary(shape: tuple[int, ...]) -> None:
    x = structured_input(shape, seed=3)
    assert x.shape == shape
    assert x.dtype == torch.float32
    assert torch.isfinite(x).all()
    assert not torch.equal(x[0], x[1])
    assert torch.equal(x, structured_input(shape, seed=3))


def test_neighbors_are_correlated() -> None:
    x = structured_input((4, 3, 64, 64), seed=0)
    assert (x[..., 1:] - x[..., :-1]).std() < 0.5 * x.std()
