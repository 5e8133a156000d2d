"""Images as cameras, scanners and drawing programs write them, to the byte."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, TiffImagePlugin

from edgeconv.bundle import Layout, TensorInfo
from edgeconv.errors import DataError
from edgeconv.export.data.decode import UnreadableImage, decode
from edgeconv.export.data.images import load_image
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.samples import choose
from edgeconv.preprocessing import Color, Fit, Preprocessing

WHITE = (255, 255, 255)
Bytes = npt.NDArray[np.uint8]


def pixels(file: Path, background: tuple[int, int, int] = WHITE, *, gray: bool = False) -> Bytes:
    return np.asarray(decode(file, gray=gray, background=background, exif_rotation=True))


def structure(*shape: int) -> Bytes:
    """Bytes that no rotation and no exchange of channels leaves as they are."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# What each EXIF orientation has to become, by NumPy: the standard's "0th row is at the ...".
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["color", "gray of 16 bits"])
def test_exif_rotation(tmp_path: Path, orientation: int, kind: str) -> None:
    stored = structure(5, 7, 3) if kind == "color" else structure(5, 7).astype(np.uint16) << 8
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a.png"
    Image.fromarray(stored).save(file, exif=exif)
    expected = TURNED[orientation](stored if kind == "color" else stored >> 8)
    assert np.array_equal(pixels(file, gray=kind != "color"), expected)
    plain = decode(file, gray=kind != "color", background=WHITE, exif_rotation=False)
    assert np.array_equal(np.asarray(plain), TURNED[1](stored if kind == "color" else stored >> 8))


def test_a_photograph_is_turned_before_it_is_cropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(structure(16, 48, 3)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    info = TensorInfo(name="x", shape=(1, 48, 16, 3), dtype="uint8", layout=Layout.NHWC)
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.rot90(np.asarray(image), -1)
    assert np.array_equal(load_image(tmp_path / "a.jpg", info, None)[0], expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_turns_nothing(tmp_path: Path) -> None:
    stored = structure(4, 6, 3)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert np.array_equal(pixels(tmp_path / "a.png"), stored)


@settings(max_examples=25)  # of twelve pixels each
@given(
    rgba=arrays(np.uint8, (3, 4, 4)),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_transparent_pixels_show_the_background(
    rgba: Bytes, background: tuple[int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "transparent.png"
    Image.fromarray(rgba).save(file)
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + np.array(background) * (1 - alpha)
    got = pixels(file, background)
    assert np.abs(got - expected).max() <= 1  # Pillow divides by 255 in integers
    assert np.array_equal(got[rgba[..., 3] == 255], rgba[rgba[..., 3] == 255][:, :3])
    assert (got[rgba[..., 3] == 0] == background).all()


def test_a_hidden_color_stays_hidden(tmp_path: Path) -> None:
    """In every way in which a PNG or a GIF is transparent."""
    red = (200, 10, 20)
    Image.new("LA", (2, 2), (90, 0)).save(tmp_path / "la.png")
    Image.new("RGB", (2, 2), red).save(tmp_path / "key.png", transparency=red)
    Image.new("L", (2, 2), 90).save(tmp_path / "gray_key.png", transparency=90)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([*red, 1, 2, 3])
    palette.save(tmp_path / "palette.png", transparency=0)
    palette.save(tmp_path / "palette.gif", transparency=0)
    deep = Image.fromarray(np.full((2, 2), 700, np.uint16))
    deep.save(tmp_path / "deep_key.png", transparency=700)
    for file in sorted(tmp_path.iterdir()):
        assert np.unique(pixels(file, (7, 7, 7))).tolist() == [7], file.name
        assert np.unique(pixels(file, (7, 7, 7), gray=True)).tolist() == [7], file.name
    palette.save(tmp_path / "opaque.png")
    assert pixels(tmp_path / "opaque.png")[0, 0].tolist() == list(red)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_gray_of_16_bits_keeps_its_range(tmp_path: Path, name: str) -> None:
    stored = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    Image.fromarray(stored).save(tmp_path / name)
    expected = stored.view(np.uint8).reshape(16, 16, 2)[..., 1]  # the high byte
    assert np.array_equal(pixels(tmp_path / name, gray=True), expected)
    assert np.array_equal(pixels(tmp_path / name), np.repeat(expected[..., None], 3, -1))
    assert (expected.min(), expected.max()) == (0, 255)


def test_gray_tiffs_of_other_kinds(tmp_path: Path) -> None:
    stored = np.array([[0, 1000], [40000, 65535]], np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0  # white is zero
    Image.fromarray(stored).save(tmp_path / "inverted.tif", tiffinfo=tags)
    with Image.open(tmp_path / "inverted.tif") as image:
        assert image.tag_v2[262] == 0  # type: ignore[attr-defined]
    assert pixels(tmp_path / "inverted.tif", gray=True).tolist() == [[255, 252], [99, 0]]
    big = Image.frombytes("I;16B", (2, 2), stored.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    assert pixels(tmp_path / "big.tif", gray=True).tolist() == [[0, 3], [156, 255]]


def test_cmyk_and_bits(tmp_path: Path) -> None:
    Image.fromarray(structure(8, 8, 4), "CMYK").save(tmp_path / "a.tif")
    cmyk = structure(8, 8, 4).astype(int)
    black = 255 - cmyk[..., 3:]
    expected = (255 - cmyk[..., :3]) * black / 255
    assert np.abs(pixels(tmp_path / "a.tif") - expected).max() <= 1  # Pillow rounds in integers
    bits = structure(8, 8) > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(pixels(tmp_path / "bits.png", gray=True), bits * 255)


def test_what_is_read_as_it_is_equals_pillow(tmp_path: Path) -> None:
    image = Image.fromarray(structure(9, 9, 3))
    for name in ("a.jpg", "a.png", "a.bmp", "a.webp", "a.gif", "a.tif", "png.jpg"):
        image.save(tmp_path / name, format="PNG" if name == "png.jpg" else None)
        with Image.open(tmp_path / name) as opened:
            assert np.array_equal(pixels(tmp_path / name), np.asarray(opened.convert("RGB")))
            assert np.array_equal(
                pixels(tmp_path / name, gray=True), np.asarray(opened.convert("L"))
            )


def bad_files(folder: Path) -> dict[str, str]:
    """Files that are no single whole picture, by what is said of each."""
    frames = [Image.fromarray(structure(8, 8)), Image.fromarray(structure(8, 8)[::-1])]
    for name in ("moving.gif", "moving.webp", "moving.png", "pages.tif"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    Image.fromarray(structure(8, 8).astype(np.float32)).save(folder / "float.tif")
    Image.fromarray(structure(8, 8).astype(np.int32)).save(folder / "wide.tif")
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(structure(64, 64, 3)).save(folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:2000])
    return {
        **dict.fromkeys(("moving.gif", "moving.webp", "moving.png", "pages.tif"), "holds several"),
        "float.tif": "holds real numbers",
        "wide.tif": "holds numbers of 32 bits",
        **dict.fromkeys(("text.jpg", "empty.png"), "is no image that Pillow can read"),
        **dict.fromkeys(("cut.png", "cut.jpg"), "ends too early"),
    }


def test_what_is_no_single_whole_picture_is_refused_by_name(tmp_path: Path) -> None:
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(UnreadableImage, match=rf"{name} {reason}") as raised:
            pixels(tmp_path / name)
        assert "\n" not in raised.value.message
        assert raised.value.hint
    samples = open_samples(
        tmp_path, [TensorInfo(name="x", shape=(1, 3, 8, 8), dtype="float32")], None
    )
    with pytest.raises(DataError, match=r"no usable sample \(10 could not be used; the first: "):
        list(choose(samples, 20))
    assert any(line.startswith("float.tif holds real numbers") for line in samples.skipped)


def test_the_pictures_behind_a_phones_picture_are_left_out(tmp_path: Path) -> None:
    first, second = (Image.fromarray(structure(16, 16, 3)[::step]) for step in (1, -1))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
        assert np.array_equal(pixels(tmp_path / "a.jpg"), np.asarray(image.convert("RGB")))


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"]))
def test_any_bytes_are_an_image_or_refused(
    data: bytes, start: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.png"
    file.write_bytes(start + data)
    with contextlib.suppress(UnreadableImage):
        assert pixels(file).dtype == np.uint8


IMAGE = TensorInfo(name="x", shape=(1, 8, 8, 3), dtype="uint8", layout=Layout.NHWC)


def test_color_orders(tmp_path: Path) -> None:
    stored = structure(8, 8, 3)
    Image.fromarray(stored).save(tmp_path / "a.png")
    bgr = load_image(tmp_path / "a.png", IMAGE, Preprocessing(color=Color.BGR))
    assert np.array_equal(bgr[0], stored[..., ::-1])
    gray = load_image(tmp_path / "a.png", IMAGE, Preprocessing(color=Color.GRAY))[0]
    luma = stored @ np.array([0.299, 0.587, 0.114])
    assert np.abs(gray - luma[..., None]).max() <= 1
    assert (gray == gray[..., :1]).all()


@pytest.mark.parametrize(
    ("size", "place"), [((8, 4), (0, 2, 8, 4)), ((10, 16), (1, 0, 5, 8)), ((8, 8), (0, 0, 8, 8))]
)
def test_a_letterbox_shows_the_whole_picture(
    tmp_path: Path, size: tuple[int, int], place: tuple[int, int, int, int]
) -> None:
    stored = structure(size[1], size[0], 3)
    Image.fromarray(stored).save(tmp_path / "a.png")
    left, top, width, height = place
    expected = np.full((8, 8, 3), (1, 2, 3), np.uint8)
    resized = Image.fromarray(stored).resize((width, height), Image.Resampling.BILINEAR)
    expected[top : top + height, left : left + width] = np.asarray(resized)
    how = Preprocessing(fit=Fit.LETTERBOX, padding=(1, 2, 3))
    assert np.array_equal(load_image(tmp_path / "a.png", IMAGE, how)[0], expected)
    swapped = how.model_copy(update={"color": Color.BGR})
    assert np.array_equal(load_image(tmp_path / "a.png", IMAGE, swapped)[0], expected[..., ::-1])


def test_threads_leave_pillows_limit_as_it_was(tmp_path: Path) -> None:
    """Where each restored what it found, one restored what another had set for a moment."""
    file, limit = tmp_path / "a.png", Image.MAX_IMAGE_PIXELS
    Image.new("L", (4, 4)).save(file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: pixels(file), range(400)))
    assert limit == Image.MAX_IMAGE_PIXELS
