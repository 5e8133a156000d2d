"""Calibration samples that look wrong are said to; good ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.bundle import Preprocessing, TensorInfo
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.open import open_samples

INFO = [TensorInfo(name="image", shape=(1, 3, 8, 8), dtype="float32")]
IMAGENET = Preprocessing(resize=None, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
ASSUMED = Preprocessing(resize=None, mean=(0.0,) * 3, std=(1.0,) * 3, assumed=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


def findings(tmp_path: Path, array: np.ndarray, how: Preprocessing | None) -> list[str]:
    np.save(tmp_path / "x.npy", array)
    samples = open_samples(tmp_path / "x.npy", INFO, how)
    feed = SampleBatches(samples, count=99, batch=1, keep=0, check=InputCheck(INFO, how))
    list(feed)
    list(feed)  # another pass changes nothing
    return feed.findings()


@pytest.mark.parametrize("how", [None, IMAGENET, ASSUMED])
def test_bytes_are_fine_for_they_are_normalized(tmp_path: Path, how: Preprocessing | None) -> None:
    assert findings(tmp_path, PIXELS, how) == []


def test_normalized_floats_are_fine(tmp_path: Path) -> None:
    normalized = (PIXELS / np.float32(255) - 0.45) / 0.225
    assert findings(tmp_path, normalized.astype(np.float32), IMAGENET) == []
    assert findings(tmp_path, (PIXELS / 255).astype(np.float32), ASSUMED) == []


@pytest.mark.parametrize("how", [None, IMAGENET, ASSUMED])
def test_raw_pixels(tmp_path: Path, how: Preprocessing | None) -> None:
    (line,) = findings(tmp_path, PIXELS.astype(np.float32), how)
    assert "like raw pixels" in line
    assert ("[-2.1, 2.6]" in line) == (how is IMAGENET)


def test_scaled_and_not_normalized(tmp_path: Path) -> None:
    (line,) = findings(tmp_path, (PIXELS / 255).astype(np.float32), IMAGENET)
    assert "lie in [0, 1]" in line


def test_constant_images_are_named(tmp_path: Path) -> None:
    pixels = PIXELS.copy()
    pixels[[1, 4]] = 0
    (line,) = findings(tmp_path, pixels, None)
    assert "2 of 6 calibration samples hold one value all over" in line
    assert {word for word in line.replace(",", "").split() if word.isdecimal()} >= {"1", "4"}


def test_equal_samples(tmp_path: Path) -> None:
    (line,) = findings(tmp_path, np.repeat(PIXELS[:1], 5, 0), None)
    assert line == "all 5 calibration samples are the same"


def test_what_is_no_image_is_not_taken_for_one() -> None:
    info = [TensorInfo(name="x", shape=(1, 4), dtype="float32")]
    check = InputCheck(info, None)
    check.note("0", (np.array([[0, 1, 2, 300]], np.float32),))
    check.note("1", (np.array([[0, 1, 2, 200]], np.float32),))
    assert check.findings(normalized_here=False) == []
