"""``run.py`` turns pictures into the same bytes as calibration, verification and evaluation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeconv.bundle import Layout, Manifest, TensorInfo
from edgeconv.companion.write import run_script, write_companions
from edgeconv.export.data.decode import UnreadableImage
from edgeconv.export.data.images import load_image
from edgeconv.preprocessing import Color, Fit, Interpolation, Preprocessing
from support.manifests import made_manifest

pytestmark = pytest.mark.slow

STATED = Preprocessing(resize=40, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def manifest_of(
    how: Preprocessing | None, shape: tuple[int, ...] = (1, 3, 24, 32), dtype: str = "float32"
) -> Manifest:
    layout = Layout.NHWC if shape[3] in (1, 3) else Layout.NCHW
    info = TensorInfo(name="x", shape=shape, dtype=dtype, layout=layout)
    return made_manifest(shape, (1, 5), preprocessing=how).model_copy(update={"inputs": (info,)})


def prepared(manifest: Manifest, file: Path) -> Any:
    """What the script makes of a file."""
    script: dict[str, Any] = {"__name__": "run"}
    exec(run_script(manifest, Path()), script)
    return script["prepare"](script["read"](str(file)))


def assert_equal(manifest: Manifest, file: Path) -> None:
    wanted = load_image(file, manifest.inputs[0], manifest.preprocessing)
    got = prepared(manifest, file)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert np.array_equal(got, wanted), file.name


def structure(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures of every kind that cameras, scanners and drawing programs write."""
    folder = tmp_path_factory.mktemp("pictures")
    color, gray = Image.fromarray(structure(45, 61, 3)), Image.fromarray(structure(45, 61))
    deep = Image.fromarray(structure(45, 61).astype(np.uint16) * 251)
    color.save(folder / "color.png")
    gray.save(folder / "gray.png")
    deep.save(folder / "deep.png")
    deep.save(folder / "deep_key.png", transparency=int(np.asarray(deep)[3, 4]))
    deep.save(folder / "deep.tif")
    deep.save(folder / "deep_white_is_zero.tif", tiffinfo={262: 0})
    deep.save(folder / "deep.pgm")
    Image.fromarray(structure(45, 61, 4)).save(folder / "alpha.png")
    color.convert("CMYK").save(folder / "cmyk.jpg")
    color.convert("P").save(folder / "palette.gif", transparency=3)
    gray.convert("1").save(folder / "bits.png")
    Image.merge("LA", (gray, gray)).save(folder / "gray_alpha.png")
    gray.save(folder / "gray_key.png", transparency=90)
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        color.save(folder / f"turned{turn}.jpg", exif=exif, quality=95)
    color.save(folder / "phone.mpo", save_all=True, append_images=[gray.convert("RGB")])
    Image.fromarray(structure(3, 900, 3)).save(folder / "long.png")
    Image.fromarray(structure(2, 2, 3)).save(folder / "tiny.png")
    return {file.name: file for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_every_kind(pictures: dict[str, Path], channels: int) -> None:
    stated = STATED if channels == 3 else Preprocessing(mean=(0.3,), std=(0.2,), color=Color.GRAY)
    manifest = manifest_of(stated, (1, channels, 24, 32))
    for file in pictures.values():
        assert_equal(manifest, file)


PREPROCESSING = {
    "none": None,
    "as the camera stored it": Preprocessing(exif_rotation=False),
    "on black": Preprocessing(background=(0, 10, 20)),
    "crop": Preprocessing(crop=0.875, interpolation=Interpolation.BICUBIC),
    "squash": Preprocessing(fit=Fit.SQUASH, resize=30, interpolation=Interpolation.LANCZOS),
    "huge squash": Preprocessing(fit=Fit.SQUASH, resize=4100, interpolation=Interpolation.NEAREST),
    "letterbox": Preprocessing(fit=Fit.LETTERBOX, padding=(1, 2, 3), color=Color.BGR),
    "gray for three": Preprocessing(color=Color.GRAY, fit=Fit.LETTERBOX),
    "bilinear as OpenCV": Preprocessing(antialias=False, mean=(0.5, 0.4, 0.3), std=(0.2,)),
    "bicubic as OpenCV": Preprocessing(
        antialias=False, interpolation=Interpolation.BICUBIC, fit=Fit.LETTERBOX
    ),
    "nearest": Preprocessing(antialias=False, interpolation=Interpolation.NEAREST),
}


@pytest.mark.parametrize("name", PREPROCESSING)
@pytest.mark.parametrize("shape", [(1, 3, 24, 32), (1, 24, 32, 3)])
def test_every_preprocessing(pictures: dict[str, Path], name: str, shape: tuple[int, ...]) -> None:
    manifest = manifest_of(PREPROCESSING[name], shape)
    for kind in ("color.png", "alpha.png", "turned6.jpg", "tiny.png"):
        assert_equal(manifest, pictures[kind])


def test_a_very_long_picture_is_not_made_huge(tmp_path: Path) -> None:
    Image.fromarray(structure(2, 6000, 3)).save(tmp_path / "long.png")
    assert_equal(manifest_of(Preprocessing(resize=96)), tmp_path / "long.png")


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_inputs_that_take_bytes(pictures: dict[str, Path], dtype: str) -> None:
    assert_equal(manifest_of(None, dtype=dtype), pictures["color.png"])


def test_a_batch_repeats_the_picture(pictures: dict[str, Path]) -> None:
    manifest = manifest_of(STATED, (2, 3, 24, 32))
    one = load_image(pictures["color.png"], manifest.inputs[0], STATED)
    assert np.array_equal(prepared(manifest, pictures["color.png"]), np.concatenate([one, one]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sides=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    size=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    fit=st.sampled_from(list(Fit)),
    interpolation=st.sampled_from(list(Interpolation)),
    antialias=st.booleans(),
    resize=st.none() | st.integers(1, 64),
    color=st.sampled_from(list(Color)),
)
def test_any_size(
    sides: tuple[int, int],
    size: tuple[int, int],
    fit: Fit,
    interpolation: Interpolation,
    antialias: bool,
    resize: int | None,
    color: Color,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    how = Preprocessing(
        fit=fit,
        interpolation=interpolation,
        antialias=antialias or interpolation is Interpolation.LANCZOS,
        resize=None if fit is Fit.LETTERBOX else resize,
        color=color,
    )
    file = tmp_path_factory.getbasetemp() / "any.png"
    Image.fromarray(structure(*sides, 3)).save(file)
    assert_equal(manifest_of(how, (1, 3, *size)), file)


def test_what_is_no_picture_is_refused_as_in_calibration(tmp_path: Path) -> None:
    real = tmp_path / "real.tif"
    Image.fromarray(np.ones((4, 4), np.float32)).save(real)
    several = tmp_path / "several.gif"
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(several, save_all=True, append_images=frames[1:])
    manifest = manifest_of(STATED)
    for file, said in ((real, "which one is white"), (several, "holds several pictures")):
        with pytest.raises(UnreadableImage):
            load_image(file, manifest.inputs[0], STATED)
        with pytest.raises(SystemExit, match=said):
            prepared(manifest, file)


def test_a_picture_above_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit is neither met before ours, nor changed."""
    manifest, file, pillows = manifest_of(STATED), tmp_path / "wide.png", Image.MAX_IMAGE_PIXELS
    Image.new("1", (20_000, 10_000)).save(file)  # Pillow refuses 179 million, we 100 million
    with pytest.raises(SystemExit, match=r"200000000 pixels, more than EDGECONV_MAX_IMAGE_PIXELS"):
        prepared(manifest, file)
    write_companions(tmp_path, manifest)
    done = subprocess.run(
        [sys.executable, "-c", "import pictures, sys; pictures.read(sys.argv[1])", file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "200000000 pixels, more than MOST_PIXELS, 100000000" in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setenv("EDGECONV_MAX_IMAGE_PIXELS", "200000000")
    assert prepared(manifest, file).shape == (1, 3, 24, 32)
    assert pillows == Image.MAX_IMAGE_PIXELS
