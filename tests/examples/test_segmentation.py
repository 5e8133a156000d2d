"""The example segmentation network: its masks are what was drawn, and edgeconv reads its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from examples import segmentation


def test_a_mask_marks_the_figures_of_its_picture() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        picture, mask = (np.asarray(image) for image in segmentation.draw(random))
        assert picture.shape == (*mask.shape, 3)
        assert 1 < len(set(np.unique(mask))) <= len(segmentation.CLASSES)
        # A figure is at least 120 in each channel, and the ground at most 149: not all figures
        # are brighter, but what is darker than any figure is ground.
        assert (mask[picture.min(2) < 120] == 0).all()


@pytest.mark.slow
def test_training_writes_what_an_export_needs(tmp_path: Path) -> None:
    arguments = ["--out", str(tmp_path), "--pictures", "32", "--epochs", "1"]
    CliRunner().invoke(segmentation.main, arguments, catch_exceptions=False)
    segmentation.make().load_state_dict(load_file(tmp_path / "segmenter.safetensors"))
    for part in ("train", "test"):
        names = sorted(path.name for path in (tmp_path / part).iterdir())
        assert names == sorted(path.name for path in (tmp_path / f"{part}_masks").iterdir())
    mask = np.asarray(Image.open(tmp_path / "test_masks" / "0000.png"))
    assert mask.dtype == np.uint8
    assert mask.max() < len(segmentation.CLASSES)
    assert (tmp_path / "classes.txt").read_text().split() == list(segmentation.CLASSES)
