"""Why a state dict does not fit a network, the likeliest cause first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from edgeconv.errors import DataError
from edgeconv.near_names import near_names

State = Mapping[str, torch.Tensor]
_NAMED = 3


def mismatch(network: State, state: State, path: Path) -> DataError | None:
    """What differs between the weights of a file and those of a network.

    Args:
        network: The state dict of the network.
        state: That of the file.
        path: The file, for the message.

    Returns:
        The error to raise; None where they fit.
    """
    missing = [n for n in network if n not in state and not n.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in network]
    shapes = [n for n in network if n in state and network[n].shape != state[n].shape]
    if not (missing or unexpected or shapes):
        return None
    what = f"{path} does not fit the network: "
    if not missing and not unexpected:
        return DataError(
            what + _shapes(network, state, shapes), hint=_of_shapes(network, state, shapes)
        )
    parts = []
    if shapes:
        parts.append(_shapes(network, state, shapes))
    if missing:
        parts.append(f"it lacks {_names(missing)}")
    if unexpected:
        parts.append(f"it has an unknown {_names(unexpected)}")
    return DataError(
        f"{what}{'; '.join(parts)} ({len(missing) + len(unexpected)} names differ)",
        hint=_of_names(network, state, missing, unexpected),
    )


def _names(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {rest} more" if rest > 0 else "")


def _shapes(network: State, state: State, names: Sequence[str]) -> str:
    shown = [
        f"{name!r} is {_size(state[name])} in the file and {_size(network[name])} in the network"
        for name in names[:_NAMED]
    ]
    rest = len(names) - _NAMED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _size(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a scalar"


def _of_shapes(network: State, state: State, names: Sequence[str]) -> str:
    """What to do where all names agree: the classes, the channels, or the width differ."""
    pairs = [(network[name].shape, state[name].shape) for name in names]
    own, other = {pair[0][:1] for pair in pairs}, {pair[1][:1] for pair in pairs}
    only_first = all(a[1:] == b[1:] for a, b in pairs)
    # A head is a weight and its bias, or several of one number of classes.
    if only_first and len(own) == len(other) == 1 and other != {()}:
        return (
            "it has another number of classes: pass --model-arg "
            f"num_classes={next(iter(other))[0]}, or what the factory calls it"
        )
    if len(pairs) == 1 and len(pairs[0][1]) > 1 and pairs[0][0][:1] == pairs[0][1][:1]:
        return (
            f"its input has another number of channels: pass --model-arg "
            f"in_channels={pairs[0][1][1]}, or what the factory calls it"
        )
    return "it is of another width or variant: build that one, with --model-arg"


def _of_names(
    network: State, state: State, missing: Sequence[str], unexpected: Sequence[str]
) -> str:
    if missing and unexpected:
        prefix = _prefix(network, unexpected)
        if prefix is not None:
            return f"its names begin with {prefix!r}: pass --weights-key {prefix.rstrip('.')}"
        prefix = _prefix(state, missing)
        if prefix is not None:
            return f"the network's names begin with {prefix!r}: build the network inside"
    inside = _prefixes(network, unexpected)
    if inside:
        keys = " or ".join(prefix.rstrip(".") for prefix in inside)
        return f"it holds several networks: pass --weights-key {keys}"
    common = len(set(network) & set(state))
    if common == 0:
        return "it is of another architecture: build that one"
    if len(unexpected) == 0:
        return "it is a part of the network, or of a smaller one: load the whole state dict"
    near = near_names(unexpected[0], missing, offered=1) if missing else []
    renamed = f"; {unexpected[0]!r} may be {near[0]!r}" if near else ""
    return f"it is of another version or variant, with {common} of {len(network)} names{renamed}"


def _prefix(names: State, longer: Sequence[str]) -> str | None:
    """What is in front of every name of ``longer`` that without it is one of ``names``."""
    for name in names:
        if longer[0].endswith(f".{name}"):
            prefix = longer[0].removesuffix(name)
            if all(n.startswith(prefix) and n.removeprefix(prefix) in names for n in longer):
                return prefix
    return None


def _prefixes(names: State, longer: Sequence[str]) -> list[str]:
    """What is in front of the whole of ``names`` somewhere in ``longer``."""
    wanted = [name for name in names if not name.endswith("num_batches_tracked")]
    among = set(longer)
    prefixes = [name.removesuffix(wanted[0]) for name in longer if name.endswith(f".{wanted[0]}")]
    return [prefix for prefix in prefixes if all(prefix + name in among for name in wanted)]
