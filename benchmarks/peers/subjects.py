"""The networks that every tool gets: the same weights and the same calibration inputs.

A folder holds ``networks.json``, a list of objects with ``name``, ``factory`` (a name of the zoo),
``args`` (its options), ``weights`` (safetensors), ``calibration`` and ``evaluation`` (``.npz`` with
``x``, float32 inputs in the network's own layout, and ``y``, classes, if there are any); the files
are named relative to the folder. ``write_zoo.py`` writes one, ``benchmarks/trained`` another.
Runs in the environment of every tool.
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
    """A network with its data. ``metric`` is what ``y`` is good for, if anything."""

    name: str
    factory: str
    args: dict[str, Any]
    weights: Path
    calibration: Path
    evaluation: Path
    metric: str | None = None

    def network(self) -> nn.Module:
        """In eval mode, with its weights."""
        network = create_model(self.factory, **self.args)
        network.load_state_dict(load_file(self.weights))
        return network.eval()

    def calibration_inputs(self) -> npt.NDArray[np.float32]:
        """[N, …], each sample an input of the network."""
        return read_arrays(self.calibration)["x"]


def read_subjects(folder: Path) -> list[Subject]:
    """The networks of a folder, by ``networks.json``."""
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
