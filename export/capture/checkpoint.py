"""State dicts in files: plain, or somewhere in what a training saved."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from edgeconv.errors import DataError, Notice, UsageError

logger = logging.getLogger(__name__)

State = dict[str, torch.Tensor]
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pth.tar")
# Where trainings put the state dict, the usual one first; an average of the weights is a choice.
_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module")
_AVERAGES = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "ema_model")
# What wrappers put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
_MOST_DEPTH = 4
_MOST_NAMED = 3


def read_checkpoint(path: Path, key: str | None, wanted: Collection[str]) -> State:
    """Read the state dict of a network from a file. Says which one was taken, if there are more.

    Prefixes that wrappers put in front of all names are taken off, as far as the network's own
    names do not have them.

    Args:
        path: The file; a pickle is never executed, and tensors of any device come to the CPU.
        key: Where in the file the state dict is, with dots between; None for the usual places.
        wanted: The names in the network.

    Raises:
        UsageError: The file is missing, of another kind, or has no such key.
        DataError: The file is damaged, or holds no state dict.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="name a file of weights")
    content = _load(path)
    found = dict(_state_dicts(content, ()))
    if not found:
        raise DataError(f"{path} holds no state dict", hint="save model.state_dict()")
    taken = _chosen(found) if key is None else _asked(found, key, path)
    others = [_dotted(place) for place in found if place != taken]
    if others:
        logger.warning(
            Notice(
                f"{path.name} holds several state dicts: {_dotted(taken)} is taken",
                f"--weights-key chooses another ({', '.join(others)})",
            )
        )
    return _without_prefixes(found[taken], wanted)


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise DataError(
                f"{path} is not a readable safetensors file: {error}",
                hint="make or copy it again",
            ) from error
    if not path.name.endswith(SUFFIXES):
        raise UsageError(
            f"{path} is not a file of weights", hint=f"pass a file in {', '.join(SUFFIXES)}"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged or unsafe file
        raise DataError(
            f"{path} cannot be read as plain weights ({type(error).__name__})",
            hint="save the state_dict with safetensors or torch.save",
        ) from error


def _state_dicts(content: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], State]]:
    """The dicts of tensors only, with the keys that lead to them; none within another."""
    if not isinstance(content, Mapping) or not content or len(place) > _MOST_DEPTH:
        return
    if all(isinstance(name, str) for name in content):
        tensors = {n: v for n, v in content.items() if isinstance(v, torch.Tensor)}
        if len(tensors) == len(content):
            yield place, tensors
            return
    for name, inner in content.items():
        # An optimizer has tensors too, by the numbers of the parameters.
        if isinstance(name, str) and "optim" not in name.lower():
            yield from _state_dicts(inner, (*place, name))


def _chosen(found: Mapping[tuple[str, ...], State]) -> tuple[str, ...]:
    def rank(place: tuple[str, ...]) -> tuple[int, int, int]:
        if not place:
            return 0, 0, 0
        average = any(part in _AVERAGES for part in place)
        usual = _KEYS.index(place[0]) if place[0] in _KEYS else len(_KEYS)
        return int(average), usual, len(place)

    # Of places that say nothing, the one with the most weights.
    return min(found, key=lambda place: (rank(place), -len(found[place])))


def _asked(found: Mapping[tuple[str, ...], State], key: str, path: Path) -> tuple[str, ...]:
    place = next(
        (p for p in found if _dotted(p) == key or (p and p[0] == key and len(p) <= 2)), None
    )
    if place is None:
        raise UsageError(
            f"{path} has no state dict under {key!r}",
            hint=f"pass --weights-key with one of {', '.join(map(_dotted, found))}",
        )
    return place


def _dotted(place: tuple[str, ...]) -> str:
    return ".".join(place) or "the file itself"


def _without_prefixes(state: State, wanted: Collection[str]) -> State:
    """Take off what is in front of every name, where that makes more names the network's."""
    best, given = state, state
    for _ in range(_MOST_DEPTH):
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            # Lightning saves the weights of losses and metrics beside `model.`.
            prefix = next((p for p in _PREFIXES if any(name.startswith(p) for name in state)), "")
        state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        # torch.compile of a part leaves its name in the middle.
        inner = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
        best = max(best, state, inner, key=lambda each: _known(each, wanted))
        if not prefix:
            break
    if len(best) < len(given):
        left = [name for name in given if not any(name.endswith(own) for own in best)]
        logger.warning(
            "%d names of the weights are beside the network's and left out: %s",
            len(left),
            ", ".join(left[:_MOST_NAMED]) + (", …" if len(left) > _MOST_NAMED else ""),
        )
    return best


def _known(state: State, wanted: Collection[str]) -> int:
    return sum(name in wanted for name in state)
