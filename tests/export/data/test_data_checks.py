"""Calibration samples that look wrong are said to; good ones are not."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.errors import Notice
from edgeconv.export.data.batches import BatchCache, SampleBatches
from edgeconv.export.data.checks import InputCheck
from edgeconv.export.data.open import open_samples
from edgeconv.preprocessing import Fit, Preprocessing

INFO = [TensorInfo(name="image", shape=(1, 3, 8, 8), dtype="float32")]
IMAGENET = Preprocessing(resize=None, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
ASSUMED = Preprocessing(resize=None, mean=(0.0,) * 3, std=(1.0,) * 3, assumed=True)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)


def findings(tmp_path: Path, array: np.ndarray, how: Preprocessing | None) -> list[Notice]:
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
    assert "like raw pixels" in line.message
    assert line.hint.startswith("pass them as uint8")
    assert ("[-2.1, 2.6]" in line.message) == (how is IMAGENET)


def test_scaled_and_not_normalized(tmp_path: Path) -> None:
    (line,) = findings(tmp_path, (PIXELS / 255).astype(np.float32), IMAGENET)
    assert "lie in [0, 1]" in line.message


@pytest.mark.parametrize("how", [None, IMAGENET, ASSUMED])
@pytest.mark.parametrize("color", [(0, 0, 0), (200, 30, 90)])
def test_pictures_of_one_color_are_named(
    tmp_path: Path, how: Preprocessing | None, color: tuple[int, int, int]
) -> None:
    """Whatever the normalization, which gives the channels of one color different values."""
    pixels = PIXELS.copy()
    pixels[[1, 4]] = np.array(color)[:, None, None]
    pixels[2, 0] = 7  # one channel alone is no solid color
    (line,) = findings(tmp_path, pixels, how)
    assert line.message.startswith("2 of 6 calibration samples are of one solid color: ")
    assert {word for word in line.message.replace(",", "").split() if word.isdecimal()} >= {
        "1",
        "4",
    }


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_solid_picture_in_a_letterbox(tmp_path: Path, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("a", (8, 4)), ("b", (4, 8)), ("c", (8, 8))):
        Image.new("RGB", size, (9, 200, 30)).save(tmp_path / f"{name}.png")
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"structured_{name}.png")
    how = IMAGENET.model_copy(update={"fit": Fit.LETTERBOX})
    info = [TensorInfo(name="image", shape=(1, 3, 8, 8), dtype=dtype)]
    samples = open_samples(tmp_path, info, how)
    feed = SampleBatches(samples, count=9, batch=1, keep=0, check=InputCheck(info, how))
    list(feed)
    (line,) = feed.findings()
    assert line.message.startswith("3 of 6 calibration samples are of one solid color: ")
    assert "structured" not in line.message


def test_other_samples_of_one_value_are_named() -> None:
    check = InputCheck([TensorInfo(name="x", shape=(1, 4), dtype="float32")], None)
    check.note("good", (np.array([[1, 2, 3, 4]], np.float32),))
    check.note("bad", (np.full((1, 4), 2.5, np.float32),))
    (line,) = check.findings(normalized_here=False)
    assert line.message == "1 of 2 calibration samples hold one value all over: bad"
    assert line.hint


def test_equal_samples(tmp_path: Path) -> None:
    (line,) = findings(tmp_path, np.repeat(PIXELS[:1], 5, 0), None)
    assert line.message == "all 5 calibration samples are the same"


def test_what_is_no_image_is_not_taken_for_one() -> None:
    info = [TensorInfo(name="x", shape=(1, 4), dtype="float32")]
    check = InputCheck(info, None)
    check.note("0", (np.array([[0, 1, 2, 300]], np.float32),))
    check.note("1", (np.array([[0, 1, 2, 200]], np.float32),))
    assert check.findings(normalized_here=False) == []


def test_features_are_no_pixels() -> None:
    """A later stage of a network reads what the stage before it gives, of any size."""
    info = [TensorInfo(name="features", shape=(1, 24, 2, 2), dtype="float32")]
    check = InputCheck(info, None)
    features = np.abs(np.random.default_rng(0).normal(size=(4, 1, 24, 2, 2))) * 60
    for index, each in enumerate(features.astype(np.float32)):
        check.note(str(index), (each,))
    assert check.findings(normalized_here=False) == []


def test_samples_for_verification_alone_are_called_so() -> None:
    check = InputCheck(INFO, None, purpose="verification")
    check.note("0", (np.zeros(INFO[0].shape, np.float32),))
    (line,) = check.findings(normalized_here=False)
    assert line.message.startswith("1 of 1 verification samples are of one solid color")


def test_the_file_of_kept_batches_is_closed_with_them() -> None:
    cache = BatchCache(1 << 10)
    cache.add((np.zeros((1, 3), np.float32),))
    file = cache._file
    del cache
    gc.collect()
    assert file.closed
