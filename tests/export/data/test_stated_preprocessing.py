"""What a user states of images, and what becomes of the network's own card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export.data.feed import choose_preprocessing
from edgeconv.export.data.images import load_image
from edgeconv.export.data.stated import CONVENTIONS, combined, read_preprocessing
from edgeconv.preprocessing import Color, Fit, Interpolation, Preprocessing

CARD = Preprocessing(resize=40, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
COLOR = [TensorInfo(name="x", shape=(1, 3, 32, 32), dtype="float32")]


def test_a_file_states_what_differs(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('crop = 0.9\nmean = 0.5\nfit = "squash"\n')
    found = choose_preprocessing(tmp_path / "p.toml", CARD, COLOR, "net")
    assert found == Preprocessing(
        crop=0.9, fit=Fit.SQUASH, interpolation=Interpolation.BICUBIC, mean=(0.5,) * 3, std=CARD.std
    )


@pytest.mark.parametrize("number", ["40", 40, 40.0])
def test_a_number_may_be_written_as_a_text(number: object) -> None:
    stated = Preprocessing(resize=number, mean=("0.5",))  # type: ignore[arg-type]
    assert (stated.resize, type(stated.resize), stated.mean) == (40, int, (0.5,))


@pytest.mark.parametrize(
    "field", [{"resize": True}, {"mean": True}, {"std": (True,)}, {"padding": (0, True, 0)}]
)
def test_true_is_no_number(field: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="a number belongs here, not true or false"):
        Preprocessing(**field)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["timm", "torchvision", "none"])
def test_a_convention_replaces_the_card(name: str) -> None:
    assert combined(name, CARD) == CONVENTIONS[name]
    assert choose_preprocessing(name, CARD, COLOR, "net").assumed is False  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean = ", "is not TOML"),
        (
            "means = 0.5",
            r"p.toml: means: .*\nhint: did you mean 'mean'\?",
        ),
        ("qqq = 3", r"p.toml: qqq: .*\nhint: state only keys of a preprocessing: resize, crop"),
        ("std = [0.5, 0]", r"a standard deviation is zero\nhint: correct that value"),
        ("resize = true", "resize: a number belongs here"),
        ("std = -0.5", "a standard deviation is negative"),
        ("std = 1e-300", "too small for pixels"),
        ("std = inf", "std.*finite"),
        ("mean = [0.5, nan]", "mean.*finite"),
        ("crop = 1.5", "crop: "),
        ("crop = 0.9\nresize = 40", "exclude each other"),
        ('fit = "letterbox"\ncrop = 0.9', "a letterbox shows the whole image"),
        ("background = [0, 0, 256]", "background"),
        ('interpolation = "cubic"', "'nearest', 'bilinear', 'bicubic' or 'lanczos'"),
    ],
)
def test_files_that_say_something_else(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_preprocessing(tmp_path / "p.toml")


@pytest.mark.parametrize(
    ("mean", "std", "hint"),
    [
        ((123.675, 116.28), (58.395, 57.12), ("0.485,0.456", "0.229,0.224")),
        ((127.5,), (127.5,), ("0.5", "0.5")),
        ((103.53,) * 3, (1.0,) * 3, ("0.406,0.406,0.406", "0.00392157,0.00392157,0.00392157")),
        ((0.0,), (255.0,), ("0", "1")),
        ((123.675,), (0.229,), ("0.485", "0.229")),
        ((0.485,), (58.395,), ("0.485", "0.229")),
    ],
)  # fmt: skip
def test_mean_and_std_of_bytes_are_asked_about(
    mean: tuple[float, ...], std: tuple[float, ...], hint: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(f"mean = {list(mean)}\nstd = {list(std)}\n")
    for stated in (Preprocessing(mean=mean, std=std), tmp_path / "p.toml"):
        with pytest.raises(UsageError, match=r"pixels in \[0, 255\]") as raised:
            read_preprocessing(stated)
        assert raised.value.hint == f"if so, pass the mean {hint[0]} and the std {hint[1]}"


@given(
    mean=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(1e-3, 1), min_size=3, max_size=3),
)
def test_mean_and_std_of_pixels_from_0_to_1_are_taken(mean: list[float], std: list[float]) -> None:
    stated = Preprocessing(mean=tuple(mean), std=tuple(std))
    assert read_preprocessing(stated) is stated


def test_everything_about_an_image_can_be_stated(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        'fit = "letterbox"\ninterpolation = "bicubic"\nantialias = false\ncolor = "bgr"\n'
        "padding = [1, 2, 3]\nbackground = [0, 0, 0]\nexif_rotation = false\nstd = 0.5\n"
    )
    found = choose_preprocessing(tmp_path / "p.toml", None, COLOR, "net")
    assert found == Preprocessing(
        fit=Fit.LETTERBOX, interpolation=Interpolation.BICUBIC, antialias=False, color=Color.BGR,
        padding=(1, 2, 3), background=(0, 0, 0), exif_rotation=False, mean=(0.0,) * 3,
        std=(0.5,) * 3,
    )  # fmt: skip


def test_an_input_of_one_channel_is_gray() -> None:
    gray = [TensorInfo(name="x", shape=(1, 1, 32, 32), dtype="float32")]
    for stated in (None, Preprocessing(std=0.5)):
        assert choose_preprocessing(stated, None, gray, "net").color is Color.GRAY  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="for BGR, and the input of net has 1 channels"):
        choose_preprocessing(Preprocessing(color=Color.BGR), None, gray, "net")


def test_names_and_channels_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"no such preprocessing\nhint: .*timm, torchvision, none"):
        read_preprocessing("imagenet")
    with pytest.raises(UsageError, match=r"has 2 numbers .* has 3 channels"):
        choose_preprocessing(Preprocessing(mean=(0.1, 0.2)), None, COLOR, "net")
    with pytest.raises(UsageError, match="lanczos is always antialiased"):
        Preprocessing(interpolation=Interpolation.LANCZOS, antialias=False)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of odd sides with structure at every scale."""
    y, x = np.mgrid[0:97, 0:131]
    waves = [np.sin(x / 3.0 + y / 7.0), np.cos(x * y / 500.0), np.sin(y / 2.0)]
    pixels = (127.5 * (1 + np.stack(waves, -1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("interpolation", [Interpolation.BILINEAR, Interpolation.BICUBIC])
@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_resized_as_stated(
    interpolation: Interpolation, antialias: bool, picture: Path
) -> None:
    """Against PyTorch's own interpolation; Pillow rounds to bytes between its two passes."""
    how = Preprocessing(resize=40, interpolation=interpolation, antialias=antialias)
    pixels = torch.from_numpy(np.array(Image.open(picture))).permute(2, 0, 1)[None].float()
    size = (40, 40 * 131 // 97)
    resized = torch.nn.functional.interpolate(
        pixels, size, mode=interpolation.value, antialias=antialias, align_corners=False
    ).round().clamp(0, 255)  # fmt: skip
    top, left = round((size[0] - 32) / 2), round((size[1] - 32) / 2)
    wanted = resized[:, :, top : top + 32, left : left + 32].numpy() / 255
    got = load_image(picture, COLOR[0], how)
    assert np.abs(got - wanted).max() <= (1.01 / 255 if antialias else 1e-6)
