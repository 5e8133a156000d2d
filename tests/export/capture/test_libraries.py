"""Networks of timm and torchvision, and what their own configurations say."""

from __future__ import annotations

import builtins
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.export.capture.resolve import resolve
from edgeconv.export.data.images import load_image
from edgeconv.models.randomize import structured_input
from edgeconv.preprocessing import Fit, Interpolation
from support.libraries import library
from support.runtimes import run_onnx


def find(spec: str, size: tuple[int, ...] | None = None, **args: Any) -> Any:
    return resolve(spec, args=args, input_size=size, weights=None)


def image(*shape: int) -> TensorInfo:
    return TensorInfo(name="x", dtype="float32", shape=shape)


@pytest.fixture
def timm() -> ModuleType:
    return library("timm")


@pytest.fixture
def torchvision() -> ModuleType:
    return library("torchvision")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of odd sides with structure at every scale."""
    y, x = np.mgrid[0:97, 0:131]
    waves = [np.sin(x / 3.0 + y / 7.0), np.cos(x * y / 500.0), np.sin(y / 2.0)]
    pixels = (127.5 * (1 + np.stack(waves, -1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_missing_package_says_how_to_install_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *args, **kwargs)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"{package} is not installed") as raised:
        find(f"{package}:resnet18")
    assert raised.value.hint == f"pip install 'edgeconv[{package}]'"


def test_a_torchvision_of_another_build_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="was not built for the installed torch") as raised:
        find("torchvision:resnet18")
    assert "from the same package index" in raised.value.hint


def test_near_names_are_suggested(timm: ModuleType, torchvision: ModuleType) -> None:
    with pytest.raises(UsageError, match="did you mean 'timm:mobilenetv3_small_100'"):
        find("timm:mobilenetv3_smal_100")
    with pytest.raises(UsageError, match="did you mean 'torchvision:mobilenet_v2'"):
        find("torchvision:mobilenet_v22")


def test_arguments_that_do_not_fit(timm: ModuleType) -> None:
    with pytest.raises(UsageError, match=r"cannot be built so: .*wings"):
        find("timm:resnet10t", wings=2)


def test_the_configuration_of_timm(timm: ModuleType, picture: Path) -> None:
    """The image that the network gets is the one that timm's own transform makes."""
    from timm.data import create_transform, resolve_model_data_config

    source = find("timm:mobilenetv3_small_050")
    assert source.input_shape == (3, 224, 224)
    assert source.untrained
    assert source.published
    card = source.preprocessing
    assert card.interpolation is Interpolation.BICUBIC
    assert card.crop == 0.875
    own = create_transform(**resolve_model_data_config(source.network))
    wanted = own(Image.open(picture).convert("RGB"))[None].numpy()
    assert np.abs(load_image(picture, image(1, 3, 224, 224), card) - wanted).max() < 1e-5


def test_the_size_of_a_fixed_input_reaches_the_network(timm: ModuleType) -> None:
    source = find("timm:vit_tiny_patch16_224", (32, 32))
    assert source.input_shape == (3, 32, 32)
    with torch.inference_mode():
        assert source.network(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


def test_an_image_that_is_squashed(timm: ModuleType, picture: Path) -> None:
    from timm.data import create_transform

    from edgeconv.export import Preprocessing

    how = Preprocessing(crop=0.9, fit=Fit.SQUASH, interpolation=Interpolation.BICUBIC)
    own = create_transform(
        (3, 64, 64), crop_pct=0.9, crop_mode="squash", interpolation="bicubic", mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )  # fmt: skip
    wanted = own(Image.open(picture).convert("RGB"))[None].numpy()
    assert np.abs(load_image(picture, image(1, 3, 64, 64), how) - wanted).max() < 1e-5


def test_the_configuration_of_torchvision(torchvision: ModuleType, picture: Path) -> None:
    from torchvision.models import MobileNet_V2_Weights

    source = find("torchvision:mobilenet_v2")
    assert source.input_shape == (3, 224, 224)
    card = source.preprocessing
    assert (card.resize, card.interpolation) == (232, Interpolation.BILINEAR)
    own = MobileNet_V2_Weights.DEFAULT.transforms()
    wanted = own(Image.open(picture).convert("RGB"))[None].numpy()
    assert np.abs(load_image(picture, image(1, 3, 224, 224), card) - wanted).max() < 1e-5
    smaller = find("torchvision:mobilenet_v2", (112, 112))
    assert smaller.preprocessing.resize == math.floor(232 / 2)


def test_no_weights_are_fetched_unasked(
    torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: Any, **__: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fetch)
    assert find("torchvision:lraspp_mobilenet_v3_large").untrained


def test_pretrained_weights_come_from_the_cache_with_the_labels(
    torchvision: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, shufflenet_v2_x0_5

    torch.manual_seed(1)
    state = shufflenet_v2_x0_5().state_dict()
    file = tmp_path / ShuffleNet_V2_X0_5_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(state, file)
    # A file in the cache is loaded without a look at its hash.
    (tmp_path / "checkpoints").mkdir()
    file.rename(tmp_path / "checkpoints" / file.name)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    source = resolve(
        "torchvision:shufflenet_v2_x0_5", args={}, input_size=None, weights=None, pretrained=True
    )
    assert not source.untrained
    assert source.labels[0] == "tench"
    assert all(
        torch.equal(state[name], value) for name, value in source.network.state_dict().items()
    )


@pytest.mark.slow
def test_from_the_name_to_the_file(timm: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = export("timm:mobilenetv3_small_050", out=tmp_path / "b", input_size=64)
    assert [a.path for a in bundle.manifest.artifacts] == [
        "mobilenetv3_small_050_float32.onnx",
        "mobilenetv3_small_050_float32.tflite",
    ]
    how = bundle.manifest.preprocessing
    assert how is not None
    assert (how.crop, how.interpolation.value) == (0.875, "bicubic")
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050").eval()
    x = structured_input((1, 3, 64, 64))
    with torch.inference_mode():
        wanted = network(x).numpy()
    (got,) = run_onnx(bundle.file(bundle.manifest.artifacts[0]).read_bytes(), x.numpy()).values()
    # Rounding of float32 over some fifty layers.
    assert np.abs(got - wanted).max() < 1e-5 * np.abs(wanted).max()
