"""Networks and data that several tests of the export share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from edgeconv.export import Bundle, export
from edgeconv.models import create_model
from edgeconv.models.randomize import randomize_, structured_input

CLASSES = 4
SHAPE = (3, 16, 16)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """ResNet-8 on 16×16 with weights and statistics that make its output depend on its input."""
    return randomize_(create_model("resnet8", num_classes=CLASSES), shape=SHAPE)


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 structured samples as an .npz file."""
    path = tmp_path_factory.mktemp("calibration") / "samples.npz"
    np.savez(path, x=structured_input((24, *SHAPE)).numpy())
    return path


@pytest.fixture(scope="session")
def bundle(
    network: nn.Module, calibration: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """All four files of the network. Tests that change a bundle work on a copy."""
    out = tmp_path_factory.mktemp("bundle") / "resnet8"
    return export(network, out=out, input_size=SHAPE, calibration=calibration)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOLDER/CLASS/image.png, six images of 20×24 in each of CLASSES classes."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir()
        for index in range(6):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class{label}" / f"{index}.png")
    return folder
