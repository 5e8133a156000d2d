"""Every network of the zoo against its card. A network is tested because it is registered."""

import pytest
import torch

from edgeconv import models

NAMES = models.list_models()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_on_the_card(name: str) -> None:
    with torch.device("meta"):
        network = models.create_model(name)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == models.model_info(name).parameters
