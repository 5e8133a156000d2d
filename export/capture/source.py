"""A network to export, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from edgeconv.model_args import ModelArgs
from edgeconv.preprocessing import Preprocessing

SPEC_FORMS = (
    "a zoo name (`edgeconv models` lists them), timm:NAME, torchvision:NAME, file.py:factory, "
    "package.module:factory, file.onnx or file.pt2"
)


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        spec: What the user wrote, or the class name of a module passed from Python.
        network: The module in eval mode, or the path of an ``.onnx`` file.
        args: What the factory was called with.
        input_shape: The shape of one input, where the network's card states it.
        example: What the network may be called with, as its file or its author says: a tensor, a
            tuple of arguments or a dict of keyword arguments; None where there is none.
        preprocessing: From the network's card.
        labels: The names of the classes, from the network's card.
        untrained: Whether the weights are fresh random ones.
        published: Whether there are weights that ``--pretrained`` loads.
        output_names: From the network's card, in order; empty elsewhere.
        factory: What made the network, where the user named it; None elsewhere.
    """

    spec: str
    network: nn.Module | Path
    args: ModelArgs = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    example: Any = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    untrained: bool = False
    published: bool = False
    output_names: tuple[str, ...] = ()
    factory: Callable[..., nn.Module] | None = None
