"""The user's example as samples, where it is all the data there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from edgeconv.bundle import TensorInfo
from edgeconv.export.capture.arguments import Called, file_example
from edgeconv.export.data.samples import batch_size


def example_samples(
    network: nn.Module | Path, example: Any, inputs: Sequence[TensorInfo]
) -> dict[str, Any] | None:
    """The arrays of the example by the names of the inputs, with the samples first.

    None where there is no example, or not of all inputs.
    """
    if isinstance(network, Called):
        names = [info.name for info in network.arguments.inputs]
        arrays = dict(zip(names, network.arguments.example or (), strict=False))
    elif isinstance(network, Path) and example is not None:
        arrays = file_example(network, example)
    else:
        return None
    if {info.name for info in inputs} - set(arrays):
        return None
    if batch_size(inputs) is not None:
        return arrays
    return {
        info.name: arrays[info.name] if info.shape[:1] == (1,) else arrays[info.name][None]
        for info in inputs
    }
