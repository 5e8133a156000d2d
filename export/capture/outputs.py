"""The outputs of a module by name, however it returns them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from edgeconv.errors import CaptureError


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """Give every tensor that a module returned its name, in order.

    A single output is called ``output``, those of a tuple or list ``output_0`` and so on; those of
    a dict, a dataclass or a named tuple have its keys or fields. Within each other, names are
    joined by ``_``. What is None is left out.

    Raises:
        CaptureError: There is no tensor, or something else than tensors.
    """
    named: dict[str, torch.Tensor] = {}
    for path, tensor in _leaves(result, ()):
        # Only what has no names of its own needs a word in front.
        name = "_".join(path if path and not path[0].isdecimal() else ("output", *path))
        while name in named:
            name += "_"
        named[name] = tensor
    if not named:
        raise CaptureError("the network returns no tensor", hint="return at least one")
    return named


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif value is not None:
        for name, item in _items(value):
            yield from _leaves(item, (*path, name))


def _items(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(each.name, getattr(value, each.name)) for each in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return [(str(index), item) for index, item in enumerate(value)]
    kind = type(value).__name__
    raise CaptureError(
        f"the network returns {'an' if kind[0] in 'aeiou' else 'a'} {kind}",
        hint="return a tensor, or a tuple, list, dict, dataclass or named tuple of tensors",
    )
