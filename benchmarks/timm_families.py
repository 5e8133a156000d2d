"""The smallest network of each family of timm, with weights that let every layer matter."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from edgeconv.models.randomize import randomize_, structured_input

SAMPLES = 16
_SMALL = 96  # pixels of the input of a network that takes any size


def smallest_members() -> dict[str, str]:
    """The network of each family that has the fewest parameters; it takes minutes to find them.

    A family is a module of ``timm.models`` with registered networks. timm's own test networks do
    not count: no one deploys them.
    """
    import timm

    def parameters(name: str) -> int:
        with torch.device("meta"):
            network = timm.create_model(name)
        return sum(parameter.numel() for parameter in network.parameters())

    return {
        family: min(timm.list_models(module=family, exclude_filters="test_*"), key=parameters)
        for family in timm.list_modules()
    }


def family_network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with weights that are alive, and the shape of its input without the batch.

    The input has the size that timm states, where the network takes no other; or the smallest one
    that timm states; or 96 pixels.
    """
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name)
    card = network.pretrained_cfg
    shape = tuple(card["input_size"])
    if not card["fixed_input_size"]:
        shape = tuple(card.get("min_input_size") or (shape[0], _SMALL, _SMALL))
    vary_constants(network)
    return randomize_(network, shape=shape), shape


def images(shape: tuple[int, ...]) -> list[tuple[npt.NDArray[Any]]]:
    """Structured images, one array per sample."""
    return [(structured_input((1, *shape), seed=seed).numpy(),) for seed in range(SAMPLES)]


def vary_constants(network: nn.Module) -> None:
    """Let parameters whose elements are all the same differ.

    A scale of a layer that begins at 1e-6, a bias or a table of positions that begins at zero, or
    a temperature of one would hide what the export makes of it.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.is_floating_point() or parameter.min() != parameter.max():
                continue
            if parameter.flatten()[0] == 0:
                parameter.normal_(0, 0.1, generator=generator)
            else:
                parameter.copy_(
                    torch.empty(parameter.shape).uniform_(0.5, 1.5, generator=generator)
                    * parameter.clamp(min=0.1)
                )
