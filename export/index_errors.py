"""Integers of a sample that are beyond the table that they index, such as unknown token ids."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeconv.export.capture.wrapped import own_name

HINT = "check the data, such as ids of tokens that come from another tokenizer"

# What ONNX Runtime says of Gather and its like.
_BEYOND = re.compile(r"idx=(-?\d+) must be within the inclusive range \[-?\d+,(\d+)\]")
_NODE = re.compile(r"Name:'([^']+)'")


def in_the_words_of_onnx_runtime(
    message: str, inputs: Mapping[str, npt.NDArray[np.generic]]
) -> str | None:
    """What a message of ONNX Runtime means, if it is of an index beyond a table.

    Args:
        message: The message.
        inputs: The inputs of the run, by name.
    """
    beyond, node = _BEYOND.search(message), _NODE.search(message)
    if beyond is None:
        return None
    table = node[1] if node else "a table"
    return beyond_table(int(beyond[1]), table, int(beyond[2]) + 1, inputs)


def of_embeddings(
    network: nn.Module,
    inputs: Mapping[str, npt.NDArray[np.generic]],
    call: tuple[torch.Tensor, ...],
) -> str | None:
    """Which embedding of a module fails on ``call``, and for which index; None if none does."""
    found: list[str] = []

    def look(name: str, table: nn.Embedding, ids: torch.Tensor) -> None:
        if ids.is_floating_point():
            return
        wrong = ids[(ids < 0) | (ids >= table.num_embeddings)]
        if len(wrong) and not found:
            beyond = beyond_table(int(wrong[0]), own_name(name), table.num_embeddings, inputs)
            found.append(beyond)

    hooks = [
        module.register_forward_pre_hook(
            lambda table, args, name=name: look(name, table, args[0]) if args else None
        )
        for name, module in network.named_modules()
        if isinstance(module, nn.Embedding)
    ]
    try:
        if hooks:
            network(*call)
    except Exception:  # it fails as it did before
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def beyond_table(
    index: int, table: str, rows: int, inputs: Mapping[str, npt.NDArray[np.generic]]
) -> str:
    """Say which input holds an index that a table does not have."""
    holding = [
        repr(name) for name, array in inputs.items() if array.dtype.kind in "iu" and index in array
    ]
    where = f"the input {' or '.join(holding)} holds" if holding else "an index is"
    return f"{where} {index}, and {table} has {rows} rows, from 0 to {rows - 1}"
