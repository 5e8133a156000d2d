"""Tensors of a checkpoint whose values a network cannot take as they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from edgeconv.errors import DataError, Notice

logger = logging.getLogger(__name__)

State = dict[str, torch.Tensor]


def dense(network: Mapping[str, torch.Tensor], state: State, path: Path) -> State:
    """The tensors as PyTorch copies them into a module: with all their values, in reals.

    Sparse tensors become dense ones of the same values, where the network has such a shape.

    Raises:
        DataError: A tensor has no values, or has them quantized.
    """
    for name, tensor in state.items():
        if tensor.is_meta:
            raise DataError(
                f"{path}: {name!r} has a shape but no values; it was saved on the meta device",
                hint="save the state dict after the weights are loaded or initialized",
            )
        if tensor.is_quantized:
            raise DataError(
                f"{path}: {name!r} is quantized ({_name(tensor.dtype)})",
                hint="pass the float checkpoint, and let --calibration quantize it",
            )
    sparse = [
        name
        for name, tensor in state.items()
        # Another shape does not fit, and a file could state one that no memory holds.
        if tensor.layout is not torch.strided
        and name in network
        and network[name].shape == tensor.shape
    ]
    return state | {name: state[name].to_dense() for name in sparse}


def refuse_lost_values(network: Mapping[str, torch.Tensor], state: State, path: Path) -> None:
    """Refuse weights that the types of the network's own cannot hold; warn of integers in reals.

    Args:
        network: The network's own state dict.
        state: That of the file.
        path: The file, for messages.

    Raises:
        DataError: A value would lose its imaginary part or its fraction, or become infinite.
    """
    integers = []
    for name, tensor in state.items():
        own = network.get(name)
        if own is None or own.dtype == tensor.dtype or own.shape != tensor.shape:
            continue
        lost = _lost(tensor, own.dtype)
        if lost:
            raise DataError(
                f"{path}: {name!r} has {lost} ({_name(tensor.dtype)}), which the network's "
                f"{_name(own.dtype)} cannot hold",
                hint="train again, or load other weights",
            )
        if own.is_floating_point() and not tensor.is_floating_point():
            integers.append(name)
    if integers:
        first = integers[0]
        logger.warning(
            Notice(
                f"{path.name}: {first!r}{_and_more(integers)} has integers "
                f"({_name(state[first].dtype)}), which are taken as the numbers that they are",
                "where they need a scale, pass the float checkpoint",
            )
        )


def _lost(tensor: torch.Tensor, dtype: torch.dtype) -> str:
    """What ``tensor`` has that ``dtype`` has not; empty where that is rounding at the most."""
    if tensor.is_complex():
        return "" if dtype.is_complex else "an imaginary part"
    if not tensor.is_floating_point():
        return ""
    if dtype.is_floating_point:
        beyond = int((torch.isfinite(tensor) & ~torch.isfinite(tensor.to(dtype))).sum())
        return f"{beyond} values that are too large" if beyond else ""
    return "" if dtype.is_complex or torch.equal(tensor.trunc(), tensor) else "fractions"


def _and_more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
