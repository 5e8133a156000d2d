"""The folder of trained networks: weights, data and ``networks.json``, which describes them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from safetensors.torch import load_file
from torch import nn

from benchmarks.trained.fit import Labeled
from edgeconv.models import create_model

INDEX = "networks.json"


class Metric(str, Enum):
    TOP1 = "top1"
    IOU = "iou"


@dataclass(frozen=True)
class Trained:
    """One trained network.

    ``factory`` is a name of the zoo and ``args`` has its options. ``weights``, ``calibration`` and
    ``evaluation`` are files of the folder. The data files hold ``x``, float32 inputs, and ``y``,
    classes or masks. ``scores`` has PyTorch's score for each output.
    """

    name: str
    factory: str
    args: dict[str, int | float]
    weights: str
    calibration: str
    evaluation: str
    metric: Metric
    scores: tuple[float, ...]

    def network(self, folder: Path) -> nn.Module:
        network = create_model(self.factory, **self.args)
        network.load_state_dict(load_file(folder / self.weights))
        return network


def default_folder() -> Path:
    """The folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edgeconv" / "trained"


def read_index(folder: Path) -> list[Trained]:
    """Read the trained networks in the order of training; without an index there are none."""
    path = folder / INDEX
    if not path.is_file():
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        Trained(**{**entry, "metric": Metric(entry["metric"]), "scores": tuple(entry["scores"])})
        for entry in entries
    ]


def add_to_index(folder: Path, trained: Trained) -> None:
    """Add or replace the entry of a network; a reader never sees half a file."""
    entries = [entry for entry in read_index(folder) if entry.name != trained.name] + [trained]
    text = json.dumps([asdict(entry) for entry in entries], indent=2)
    partial = folder / f"{INDEX}.partial"
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(folder / INDEX)


def read_data(path: Path) -> Labeled:
    with np.load(path, allow_pickle=False) as file:
        return Labeled(file["x"], file["y"])
