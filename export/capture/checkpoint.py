"""State dicts in files: plain, or somewhere in what a training saved."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeconv.errors import DataError, Notice, UsageError
from edgeconv.export.capture.weights_file import read_weights_file
from edgeconv.near_names import did_you_mean

logger = logging.getLogger(__name__)

_LEAVE_OUT = "leave --weights-key out: the file is a state dict itself"

State = dict[str, torch.Tensor]
# Where trainings put the state dict, the usual one first; an average of the weights is a choice.
_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module")
_AVERAGES = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "ema_model")
# What wrappers put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "_forward_module.", "model.", "net.", "network.", "backbone.")
# What trainings keep beside the weights.
_NO_WEIGHTS = ("optim", "rng", "scaler")
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
    content = whole = read_weights_file(path)
    if isinstance(content, list | tuple):  # as torch.save((state_dict, epoch), …) writes it
        content = {
            str(index): part for index, part in enumerate(content) if isinstance(part, Mapping)
        }
    found = dict(_state_dicts(content, ()))
    if key is not None:
        found |= _under_prefix(found, key)
    if not found:
        raise DataError(
            f"{path} holds no state dict but {_described(whole)}", hint="save model.state_dict()"
        )
    taken = _chosen(found) if key is None else _asked(found, key, path)
    others = [_dotted(place) for place in found if place and place != taken]
    if others and key is None:
        logger.warning(
            Notice(
                f"{path.name} holds several state dicts: {_dotted(taken)} is taken",
                f"--weights-key chooses another ({', '.join(others)})",
            )
        )
    return _without_prefixes(found[taken], wanted)


def _state_dicts(content: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], State]]:
    """The dicts of tensors, with the keys that lead to them; none within another.

    Where a dict holds tensors beside something else, the dicts in it come first.
    """
    if not isinstance(content, Mapping) or not content or len(place) > _MOST_DEPTH:
        return
    tensors = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in content.items()
        if isinstance(name, str) and _is_tensor(value)
    }
    if len(tensors) == len(content):
        yield place, tensors
        return
    inside = False
    for name, inner in content.items():
        # An optimizer has tensors too, by the numbers of the parameters.
        if isinstance(name, str) and not any(part in name.lower() for part in _NO_WEIGHTS):
            for found in _state_dicts(inner, (*place, name)):
                inside = True
                yield found
    if tensors and not inside:
        yield place, tensors


def _is_tensor(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufc"
    return isinstance(value, torch.Tensor)


def _described(content: Any) -> str:
    """What a file holds in place of a state dict."""
    if isinstance(content, Mapping):
        keys = [repr(key) for key in content]
        shown = ", ".join(keys[:_MOST_NAMED]) + (", …" if len(keys) > _MOST_NAMED else "")
        return f"a dict with the keys {shown}" if keys else "an empty dict"
    if isinstance(content, list | tuple) and any(map(_is_tensor, content)):
        return "tensors without names"
    return f"something of type {type(content).__name__}"


def _under_prefix(found: Mapping[tuple[str, ...], State], key: str) -> dict[tuple[str, ...], State]:
    """The names behind ``key`` and a dot, where one state dict holds several networks."""
    prefix = f"{key}."
    for state in found.values():
        inner = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        if inner and not any(_dotted(place) == key for place in found):
            return {(key,): inner}
    return {}


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
        # Of a file that is a state dict itself, the networks that it may hold.
        keys = [_dotted(place) for place in found if place] or sorted(
            {name.partition(".")[0] for state in found.values() for name in state if "." in name}
        )
        hints = [f"name one of {', '.join(keys)} by --weights-key"] if keys else []
        otherwise = ", or ".join([*hints, *([_LEAVE_OUT] if () in found else [])])
        hint = did_you_mean(key, keys, otherwise)
        raise UsageError(f"{path} has no state dict under {key!r}", hint=hint)
    return place


def _dotted(place: tuple[str, ...]) -> str:
    return ".".join(place)


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
        named = ", ".join(left[:_MOST_NAMED]) + (", …" if len(left) > _MOST_NAMED else "")
        logger.warning("left out what the weights have beside the network's: %s", named)
    return best


def _known(state: State, wanted: Collection[str]) -> int:
    return sum(name in wanted for name in state)
