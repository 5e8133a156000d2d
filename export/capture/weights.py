"""Trained weights for a network: from a file, or those that torchvision publishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeconv.errors import DataError, UsageError
from edgeconv.models.pretrained import PretrainedError, load_pretrained


def load_published_weights(name: str, network: nn.Module) -> None:
    """Load the published weights of the zoo's network ``name``, downloaded or from the cache.

    Raises:
        DataError: there are none, they cannot be downloaded, or they do not fit.
    """
    try:
        load_pretrained(name, network)
    except PretrainedError as error:
        raise DataError(str(error)) from error


def load_weights(network: nn.Module, path: Path) -> None:
    """Load ``.safetensors``, ``.pth`` or ``.pt`` into ``network``; a pickle is never executed.

    Accepts a state dict, or a checkpoint that holds one under ``state_dict`` or ``model``.

    Raises:
        UsageError: the file is missing or of another kind.
        DataError: the file is damaged, or its names or shapes are not the network's.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    state = _read_state(path)
    if state and all(name.startswith("module.") for name in state):
        # nn.DataParallel and DistributedDataParallel save the network as their attribute.
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        # The first line only says that something does not fit; the second says what.
        detail = str(error).splitlines()[-1].strip()
        raise DataError(f"{path} does not fit the network: {detail}") from error
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        first = f"lacks {missing[0]!r}" if missing else f"has an unknown {unexpected[0]!r}"
        count = len(missing) + len(unexpected)
        raise DataError(f"{path} does not fit the network: it {first} ({count} names differ)")


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    state: Any
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(f"{path} is not a readable safetensors file: {error}") from error
    if path.suffix not in (".pth", ".pt"):
        raise UsageError(
            f"{path} is not a file of weights", hint="pass a .safetensors, .pth or .pt file"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged or unsafe file
        raise DataError(
            f"{path} cannot be read as plain weights ({type(error).__name__})",
            hint="save the state_dict with safetensors or torch.save",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(value, torch.Tensor) for value in state.values()
    ):
        raise DataError(f"{path} holds no state dict", hint="save model.state_dict()")
    return state
