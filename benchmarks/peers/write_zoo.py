"""Write every network of the zoo with random weights and structured inputs.

The weights are such that every layer matters for the output.

    .venv/bin/python -m benchmarks.peers.write_zoo FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.peers.subjects import INDEX
from edgeconv.models import create_model, input_shape, list_models, model_info
from edgeconv.models.randomize import randomize_, structured_input

CALIBRATION, EVALUATION = 16, 16  # samples
# These seeds are far from each other and from the small ones of the batch-norm statistics.
CALIBRATION_SEED, EVALUATION_SEED = 1000, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    # Networks with few MACs come first, so that a part of the run covers most networks.
    names = sorted(list_models(), key=lambda name: model_info(name).macs)
    entries = [write(name, folder) for name in names]
    (folder / INDEX).write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def write(name: str, folder: Path) -> dict[str, object]:
    """Write the files of one network, and return its entry for the index."""
    shape = input_shape(name)
    network = randomize_(create_model(name), shape=shape)
    files = {part: f"{name}_{part}.npz" for part in ("calibration", "evaluation")}
    weights = f"{name}.safetensors"
    save_file(network.state_dict(), folder / weights)
    for part, count, seed in (
        ("calibration", CALIBRATION, CALIBRATION_SEED),
        ("evaluation", EVALUATION, EVALUATION_SEED),
    ):
        np.savez(folder / files[part], x=structured_input((count, *shape), seed).numpy())
    return {"name": name, "factory": name, "args": {}, "weights": weights, **files}


if __name__ == "__main__":
    main()
