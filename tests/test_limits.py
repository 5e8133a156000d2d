from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeconv import limits
from edgeconv.array_file import stored_arrays
from edgeconv.bench import BenchResult
from edgeconv.bench.journal import Journal
from edgeconv.bundle import Manifest, TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.fit import fitted
from edgeconv.export.data.images import load_image
from edgeconv.limits import DOCUMENT_BYTES, IMAGE_PIXELS, UNPACKED_BYTES, Limit, LimitExceeded
from edgeconv.preprocessing import Preprocessing
from edgeconv.store.result_selector import read_result

PAGE = Path(__file__).parents[1] / "docs" / "limits.md"


def test_every_limit_is_on_the_page() -> None:
    page = PAGE.read_text()
    for limit in vars(limits).values():
        if isinstance(limit, Limit):
            row = next(line for line in page.splitlines() if f"`{limit.variable}`" in line)
            assert f" {limit.default:,} " in row


def test_a_limit_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "1e9", "-1", "٣", "9" * 30):
        monkeypatch.setenv(UNPACKED_BYTES.variable, text)
        with pytest.raises(UsageError, match="not a whole number"):
            UNPACKED_BYTES.check(1, "")


def test_an_amount_that_no_limit_can_be_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitExceeded, match="no machine has as much"):
        UNPACKED_BYTES.check(10**18, "it takes")
    most = 10**18 - 1
    with pytest.raises(LimitExceeded, match=f"set {UNPACKED_BYTES.variable}={most}"):
        UNPACKED_BYTES.check(most, "it takes")
    monkeypatch.setenv(UNPACKED_BYTES.variable, str(most))
    UNPACKED_BYTES.check(most, "it takes")


def test_a_document_of_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.touch()
    os.truncate(path, DOCUMENT_BYTES.default + 1)  # a hole, which takes no space on the disk
    for load in (BenchResult.load, Manifest.load, read_result, Journal.open):
        with pytest.raises(LimitExceeded, match=f"set {DOCUMENT_BYTES.variable}="):
            load(path)


def test_a_document_without_end(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    os.mkfifo(path)
    for load in (BenchResult.load, Manifest.load, read_result, Journal.open):
        with pytest.raises(UsageError, match=r"result\.json is not a file"):
            load(path)


def test_arrays_that_unpack_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 2000), np.uint8), y=np.zeros(9, np.uint8))
    assert path.stat().st_size < 4000
    monkeypatch.setenv(UNPACKED_BYTES.variable, "2000000")
    with pytest.raises(LimitExceeded, match=r"x\.npz unpacks to 2\.00 MB, and the limit"):
        stored_arrays(path)
    monkeypatch.setenv(UNPACKED_BYTES.variable, "3000000")
    assert stored_arrays(path)["x"].shape == (1000, 2000)


def test_a_header_that_states_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    small = tmp_path / "x.npy"
    np.save(small, np.zeros(4))
    data = small.read_bytes().replace(b"(4,)", b"(9" + b"9" * 9 + b",)")[:200]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", data)
    with pytest.raises(DataError, match="not a readable NumPy file"):
        stored_arrays(path)


def gray(side: int) -> TensorInfo:
    return TensorInfo(name="x", shape=(1, 1, side, side), dtype="float32")


def test_an_image_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (200, 100)).save(tmp_path / "a.png")
    monkeypatch.setenv(IMAGE_PIXELS.variable, "19999")
    with pytest.raises(LimitExceeded, match=r"a\.png has 20\.0 k pixels"):
        load_image(tmp_path / "a.png", gray(8), None)


def test_a_thin_image_is_not_scaled_whole(tmp_path: Path) -> None:
    """Scaled to a width of 256 it would take 12 GB."""
    ramp = (np.arange(60_000, dtype=np.uint32) // 235).astype(np.uint8)[:, None]
    Image.fromarray(ramp).save(tmp_path / "a.png")
    resize = Preprocessing(resize=256, mean=(0.0,), std=(1.0,))
    array = load_image(tmp_path / "a.png", gray(224), resize)
    assert array.shape == (1, 1, 224, 224)
    np.testing.assert_allclose(array * 255, ramp[30_000, 0], atol=1)


def test_both_ways_to_crop_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (97, 61, 3), np.uint8)
    image = Image.fromarray(noise)
    for size, shorter in (((24, 32), 40), ((120, 80), None), ((10, 10), None), ((61, 61), 61)):
        how = Preprocessing(resize=shorter)
        whole = fitted(image, size, how).astype(np.int16)
        monkeypatch.setattr("edgeconv.export.data.fit._RESIZED_PIXELS", 0)
        part = fitted(image, size, how).astype(np.int16)
        monkeypatch.undo()
        # Pillow takes the box in single precision, and rounds to whole steps.
        assert np.abs(whole - part).max() <= 1
