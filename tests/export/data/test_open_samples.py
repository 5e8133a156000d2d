"""Samples from images and arrays, good and bad."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import DataError, EdgeconvError, UsageError
from edgeconv.export.data.batches import SampleBatches
from edgeconv.export.data.images import load_image
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import choose
from edgeconv.preprocessing import Preprocessing

COLOR = [TensorInfo(name="image", shape=(1, 3, 8, 8), dtype="float32")]
TWO = [
    TensorInfo(name="a", shape=(1, 4), dtype="float32"),
    TensorInfo(name="b", shape=(1, 2), dtype="int64"),
]
HALF = Preprocessing(resize=None, mean=(0.5,) * 3, std=(0.25,) * 3)


def save_image(path: Path, size: tuple[int, int] = (10, 8), value: int = 255) -> Path:
    Image.new("RGB", size, (value, 0, value)).save(path)
    return path


def test_pixels_are_normalized(tmp_path: Path) -> None:
    array = load_image(save_image(tmp_path / "a.png"), COLOR[0], HALF)
    assert array.shape == (1, 3, 8, 8)
    assert array.dtype == np.float32
    assert np.allclose(array[0, :, 0, 0], [2, -2, 2])


@pytest.mark.parametrize("size", [(30, 10), (10, 30), (7, 5), (8, 8), (300, 200)])
@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 6, 12), (1, 3, 12, 6)])
@pytest.mark.parametrize("resize", [None, 9, 20])
def test_every_size_of_image_fits(
    tmp_path: Path, size: tuple[int, int], shape: tuple[int, ...], resize: int | None
) -> None:
    channels, info = shape[1], TensorInfo(name="image", shape=shape, dtype="float32")
    how = Preprocessing(resize=resize, mean=(0.0,) * channels, std=(1.0,) * channels)
    assert load_image(save_image(tmp_path / "a.png", size), info, how).shape == shape


def test_the_center_is_cropped(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 4:12] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert load_image(tmp_path / "a.png", COLOR[0], None).min() == 1.0


def test_an_image_has_the_layout_of_the_input(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    first = TensorInfo(name="x", shape=(1, 3, 6, 4), dtype="float32", layout=Layout.NCHW)
    last = TensorInfo(name="x", shape=(1, 6, 4, 3), dtype="float32", layout=Layout.NHWC)
    how = Preprocessing(resize=None, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    array = load_image(tmp_path / "a.png", last, how)
    assert np.allclose(array[0], (pixels / 255 - how.mean) / how.std, atol=1e-6)
    assert np.array_equal(array, np.moveaxis(load_image(tmp_path / "a.png", first, how), 1, -1))
    assert load_image(tmp_path / "a.png", last.model_copy(update={"shape": (1, 2, 4, 3)}), how)[
        0, :, 0, 0
    ].tolist() == pytest.approx(array[0, 2:4, 0, 0].tolist())


def test_bytes_are_fed_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    info = TensorInfo(name="x", shape=(1, 6, 4, 3), dtype="uint8", layout=Layout.NHWC)
    array = load_image(tmp_path / "a.png", info, None)
    assert array.dtype == np.uint8
    assert np.array_equal(array[0], pixels)


def test_damaged_images_are_named_and_skipped(tmp_path: Path) -> None:
    for index in range(3):
        save_image(tmp_path / f"{index}.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    good = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(good[:-20])
    samples = open_samples(tmp_path, COLOR, None)
    assert {name for name, _ in choose(samples, 10)} == {"0.png", "1.png", "2.png"}
    unknown = "is no image that Pillow can read"
    assert sorted(samples.skipped) == [
        "cut.png ends too early",
        f"empty.png {unknown}",
        f"text.jpg {unknown}",
    ]


def test_only_damaged_images_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no usable sample \(1 could not be used; a.png is no im"):
        list(choose(open_samples(tmp_path, COLOR, None), 4))


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        open_samples(tmp_path, COLOR, None)


def test_images_for_a_network_that_takes_none(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    with pytest.raises(UsageError, match="not one gray or color image"):
        open_samples(tmp_path, TWO, None)


def test_choice_is_seeded_and_spans_the_classes(images: Path) -> None:
    info = [TensorInfo(name="x", shape=(1, 3, 16, 16), dtype="float32")]
    first = [name for name, _ in choose(open_samples(images, info, None), 8)]
    assert first == [name for name, _ in choose(open_samples(images, info, None), 8)]
    assert len({name.partition("/")[0] for name in first}) > 2


def test_arrays_by_name_without_one_or_as_x(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "named.npz", image=x, other=x * 2)
    np.savez(tmp_path / "labeled.npz", x=x, y=np.arange(5))
    np.savez(tmp_path / "unnamed.npz", x)
    for name in ("x.npy", "named.npz", "labeled.npz", "unnamed.npz"):
        samples = open_samples(tmp_path / name, COLOR, HALF)
        assert len(samples) == 5
        assert np.array_equal(next(samples.read([2]))[1][0], x[2:3])


def test_bytes_are_pixels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 3, 8, 8), 255, np.uint8))
    samples = open_samples(tmp_path / "x.npy", COLOR, HALF)
    assert samples.pixels
    assert np.allclose(next(samples.read([0]))[1][0], 2.0)


def test_several_inputs(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((3, 4)), b=np.ones((3, 2), np.int64))
    (_, sample) = next(open_samples(tmp_path / "x.npz", TWO, None).read([1]))
    assert [array.dtype.name for array in sample] == ["float32", "int64"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 8, 8, 3))}, "NHWC"),
        ({"x": np.zeros((2, 3, 9, 9))}, r"\[3, 9, 9\].*\[3, 8, 8\]"),
        ({"x": np.full((2, 3, 8, 8), np.nan)}, r"sample [01] of .*x.npz holds NaN"),
        ({"x": np.full((2, 3, 8, 8), 1e300)}, "has values that float32, .* cannot hold"),
        ({"x": np.zeros((0, 3, 8, 8))}, "no samples"),
        (
            {"p": np.zeros((2, 3, 8, 8)), "q": np.zeros(3)},
            r"no array 'image': it has 'p', 'q', and the network takes 'image' \(or 'x'\)",
        ),
        ({"images": np.zeros((2, 3, 8, 8))}, "it has 'images', and the network takes 'image'"),
        ({"x": np.array(["a", "b"])}, "not an array of samples"),
        ({"x": np.array([{}, []], dtype=object)}, "not a readable NumPy file"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        list(choose(open_samples(tmp_path / "x.npz", COLOR, None), 4))


@pytest.mark.parametrize("content", [b"", b"no numbers", b"PK\x03\x04broken"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_damaged_array_files(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable NumPy file"):
        open_samples(path, COLOR, None)


@pytest.mark.parametrize("name", ["nowhere", "notes.txt"])
def test_no_such_source(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError):
        open_samples(tmp_path / name, COLOR, None)


def test_batches_are_full_and_recorded() -> None:
    info = [TensorInfo(name="x", shape=(4, 3, 8, 8), dtype="float32")]
    feed = SampleBatches(open_samples("random", info, None), count=10, batch=4, keep=2)
    batches = list(feed)
    assert len(feed) == 3
    assert [batch[0].shape[0] for batch in batches] == [4, 4, 4]
    assert np.array_equal(batches[2][0][0], batches[2][0][2])  # two samples, repeated
    assert len(feed.kept) == 2
    record = feed.record("minmax")
    assert (record.samples, len(set(record.names)), record.synthetic) == (10, 10, True)
    again = SampleBatches(open_samples("random", info, None), count=10, batch=4, keep=0)
    list(again)
    assert again.record("minmax").sha256 == record.sha256


@pytest.mark.parametrize("source", ["missing", "empty", "empty.npy", "", []])
def test_missing_and_empty_sources_end_with_the_same_code(source: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "empty.npy", np.zeros((0, 3, 8, 8), np.float32))
    info = TensorInfo(name="x", dtype="float32", shape=(1, 3, 8, 8))
    with pytest.raises(EdgeconvError) as caught:
        open_samples(str(tmp_path / source) if source else source, (info,), None)
    assert caught.value.exit_code == UsageError.exit_code


def test_a_generator_function_is_to_be_called() -> None:
    info = TensorInfo(name="x", dtype="float32", shape=(1, 3, 8, 8))
    with pytest.raises(UsageError, match="call it, and pass the generator"):
        open_samples(lambda: iter(()), (info,), None)
