"""The networks that every tool gets: the same weights and the same calibration inputs.

A folder holds ``networks.json``, a list of objects with these fields; the files are named relative
to the folder:

- ``name``
- ``factory``: a name of the zoo, and ``args``: its options
- ``weights``: a safetensors file
- ``calibration`` and ``evaluation``: ``.npz`` files with ``x``, float32 inputs in the network's own
  layout, and ``y``, classes, if there are any

``write_zoo.py`` writes one such folder, ``benchmarks/trained`` another. This module runs in the
environment of every tool.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file
from torch import nn

from edgeconv.models import create_model

INDEX = "networks.json"


@dataclass(frozen=True)
class Subject:
    """A network with its data. ``metric`` names the score that ``y`` allows, if there is one."""

    name: str
    factory: str
    args: dict[str, Any]
    weights: Path
    calibration: Path
    evaluation: Path
    metric: str | None = None

    def network(self) -> nn.Module:
        """Build the network in eval mode with its weights."""
        network = create_model(self.factory, **self.args)
        network.load_state_dict(load_file(self.weights))
        return network.eval()

    def calibration_inputs(self) -> npt.NDArray[np.float32]:
        """Read the calibration inputs [N, …]; each sample is one input of the network."""
        return read_arrays(self.calibration)["x"]


def read_subjects(folder: Path) -> list[Subject]:
    """Read the networks that a folder's ``networks.json`` lists."""
    entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return [
        Subject(
            name=entry["name"],
            factory=entry["factory"],
            args=entry["args"],
            weights=folder / entry["weights"],
            calibration=folder / entry["calibration"],
            evaluation=folder / entry["evaluation"],
            metric=entry.get("metric"),
        )
        for entry in entries
    ]


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}
