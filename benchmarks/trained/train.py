"""Train the networks that the accuracy benchmarks need, unless they are trained already.

.venv/bin/python -m benchmarks.trained.train [--folder FOLDER] [--only NAME …]
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.trained.fit import Labeled, fit, outputs, score
from benchmarks.trained.folder import (
    Metric,
    Trained,
    add_to_index,
    default_folder,
    read_data,
    read_index,
)
from benchmarks.trained.recipes import RECIPES, Data, Recipe
from benchmarks.trained.shapes import Shapes, draw
from edgeconv.models import create_model
from examples.digits_data import load as load_digits

TRAINING, EVALUATION, CALIBRATION = 6000, 2000, 512  # images
_PARTS = ("train", "calibration", "evaluation")

logger = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--only", nargs="+", choices=[recipe.name for recipe in RECIPES])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    known = {trained.name for trained in read_index(arguments.folder)}
    for recipe in RECIPES:
        if recipe.name in (arguments.only or ()) or not (arguments.only or recipe.name in known):
            train(recipe, arguments.folder)


def train(recipe: Recipe, folder: Path) -> Trained:
    """Train one network, and write its weights and its entry in the index."""
    started = time.monotonic()
    files = _data_files(recipe.data, folder)
    torch.manual_seed(0)
    network = create_model(recipe.network, **recipe.options)
    fit(
        network,
        read_data(files["train"]),
        recipe.epochs,
        recipe.rate,
        flips=recipe.data is not Data.DIGITS,
        progress=lambda epoch, loss: logger.info(
            "%s: epoch %d, loss %.3f", recipe.name, epoch, loss
        ),
    )
    evaluation = read_data(files["evaluation"])
    scores = tuple(score(array, evaluation.y) for array in outputs(network, evaluation.x))
    weights = folder / f"{recipe.name}.safetensors"
    save_file(network.state_dict(), weights)
    trained = Trained(
        name=recipe.name,
        factory=recipe.network,
        args=recipe.options,
        weights=weights.name,
        calibration=files["calibration"].name,
        evaluation=files["evaluation"].name,
        metric=Metric.IOU if recipe.data is Data.MASKS else Metric.TOP1,
        scores=scores,
    )
    add_to_index(folder, trained)
    figures = ", ".join(f"{value:.2%}" for value in scores)
    logger.info("%s: %s after %.0f s", recipe.name, figures, time.monotonic() - started)
    return trained


def _data_files(data: Data, folder: Path) -> dict[str, Path]:
    """Return the files of a data set by part, and make them if one is missing."""
    files = {part: folder / f"{data.value}_{part}.npz" for part in _PARTS}
    if not all(file.is_file() for file in files.values()):
        for part, labeled in _make(data).items():
            np.savez(files[part], x=labeled.x, y=labeled.y)
    return files


def _make(data: Data) -> dict[str, Labeled]:
    if data is Data.DIGITS:
        train, evaluation = (Labeled(split.x, split.y) for split in load_digits(32))
    else:
        train = _labeled(draw(TRAINING, seed=1), data)
        evaluation = _labeled(draw(EVALUATION, seed=2), data)
    calibration = Labeled(train.x[:CALIBRATION], train.y[:CALIBRATION])
    return dict(zip(_PARTS, (train, calibration, evaluation), strict=True))


def _labeled(shapes: Shapes, data: Data) -> Labeled:
    return Labeled(shapes.x, shapes.masks if data is Data.MASKS else shapes.y)


if __name__ == "__main__":
    main()
