"""Peak activation memory of a graph, by the lifetimes of its tensors."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Storage(Enum):
    """Where an operator writes its output."""

    NEW = "memory of its own"
    VIEW = "the memory of its first input, always: a reshape"
    IN_PLACE = "the memory of its first input where no other operator needs that: an activation"


@dataclass(frozen=True)
class Step(Generic[T]):
    """One operator in execution order; tensors without a known size do not count."""

    inputs: tuple[T, ...]
    outputs: tuple[T, ...]
    storage: Storage = Storage.NEW


def peak_bytes(
    steps: Sequence[Step[T]],
    sizes: Mapping[T, int],
    inputs: Collection[T],
    outputs: Collection[T],
) -> int:
    """The most bytes that live at once while the steps run one after the other.

    A tensor lives from the step that writes it to the last step that reads it. The graph's inputs
    live from the start and, like its outputs, to the end: both belong to the caller. While a step
    runs, its inputs and outputs all live. Tensors that share storage count once, with the largest
    size. What a runtime adds (alignment, gaps, packed weights, scratch) is not counted, so this is
    a lower limit for every runtime that keeps to the order.

    Args:
        steps: The operators in execution order.
        sizes: Bytes of every activation; constants are left out.
        inputs: The graph's inputs.
        outputs: The graph's outputs.
    """
    owner = _owners(steps, sizes, inputs, outputs)
    end = len(steps)
    first: dict[T, int] = {}
    last: dict[T, int] = {}
    for tensor in inputs:
        if tensor in sizes:
            first[owner[tensor]], last[owner[tensor]] = 0, end
    for index, step in enumerate(steps):
        for tensor in (*step.inputs, *step.outputs):
            if tensor in sizes:
                first.setdefault(owner[tensor], index)
                last[owner[tensor]] = max(last.get(owner[tensor], 0), index)
    for tensor in outputs:
        if tensor in sizes:
            first.setdefault(owner[tensor], end)
            last[owner[tensor]] = end
    bytes_of: dict[T, int] = {}
    for tensor, size in sizes.items():
        bytes_of[owner[tensor]] = max(bytes_of.get(owner[tensor], 0), size)
    change = [0] * (end + 2)
    for tensor, start in first.items():
        change[start] += bytes_of[tensor]
        change[last[tensor] + 1] -= bytes_of[tensor]
    live = peak = 0
    for delta in change:
        live += delta
        peak = max(peak, live)
    return peak


def _owners(
    steps: Sequence[Step[T]],
    sizes: Mapping[T, int],
    inputs: Collection[T],
    outputs: Collection[T],
) -> dict[T, T]:
    """Map every tensor to the one whose memory it uses."""
    owner = {tensor: tensor for tensor in sizes}
    readers: dict[T, int] = {}
    for index, step in enumerate(steps):
        for tensor in step.inputs:
            if tensor in owner:
                readers[tensor] = index
    kept = {*inputs, *outputs}
    for index, step in enumerate(steps):
        if step.storage is Storage.NEW or not step.inputs or not step.outputs:
            continue
        source, target = step.inputs[0], step.outputs[0]
        if source not in owner or target not in owner:
            continue
        busy = source in kept or readers[source] > index
        if step.storage is Storage.VIEW or not busy:
            owner[target] = owner[source]
    return owner
