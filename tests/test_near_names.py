"""A name that is not there is answered with near ones, wherever a person gives a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeconv.cli import cli
from edgeconv.errors import EdgeconvError
from edgeconv.export.tasks import open_task
from edgeconv.near_names import did_you_mean, near_paths
from support.tiny_models import write_onnx

DEVICES = '[devices]\nkitchen = "ssh://x"\n[pools]\nattic = ["kitchen"]\n'
FILES = {
    "config/edgeconv/devices.toml": DEVICES,
    "plan.toml": '[[model]]\nname = "resnet8"\n[exports]\n',
    "key.toml": '[[model]]\nname = "resnet8"\n[export]\nprecision = ["int8"]\n',
    "value.toml": '[[model]]\nname = "resnet8"\n[export]\nprecisions = ["int7"]\n',
    "layers.toml": '[[layer]]\nname = "a"\nprecison = "int8"\n',
    "type.toml": '[[layer]]\nname = "a"\nprecision = "int18"\n',
    "pixels.toml": "mean = [0.5]\nsdt = [0.5]\n",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    write_onnx(Path("tiny.onnx"))


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("bench tiny.onnx --device kichen", "kitchen"),
        ("bench tiny.onnx --device Attic", "attic"),
        ("bench tiny.onnx --device loacl", "local"),
        ("bench tiny.onnx --device emulated:pi44", "pi4"),
        ("bench tiny.onnx --runtime onxruntime", "onnxruntime"),
        ("compare a b --across goverNer", "governor"),
        ("devices up zero2", "zero2w"),
        ("export mobilnet_v2", "mobilenet_v2"),
        ("export resnet8 --precision in8", "int8"),
        ("export resnet8 --format TFLight", "tflite"),
        ("export resnet8 --model-arg num_clases=3", "num_classes"),
        ("export resnet8 --about licence=MIT", "license"),
        ("export resnet8 --preprocess tim", "timm"),
        ("export resnet8 --preprocess pixels.toml", "std"),
        ("export resnet8 --layers layers.toml", "precision"),
        ("export resnet8 --layers type.toml", "int8"),
        ("export tiny.onnx --input xx:1,3,8,8", "x"),
        ("export tim:resnet18", "timm"),
        ("models resnt8", "resnet8"),
        ("sweep plan.toml", "export"),
        ("sweep key.toml", "precisions"),
        ("sweep value.toml", "int8"),
        ("sweep plans.toml", "plan.toml"),
        ("bench tiny.onx", "tiny.onnx"),
        ("bench tony.onnx", "tiny.onnx"),
        ("export tony.onnx", "tiny.onnx"),
        ("export resnet8 --weights plan.tml", "plan.toml"),
        ("export resnet8 --layers layer.toml", "layers.toml"),
        ("export resnet8 --preprocess pixel.toml", "pixels.toml"),
        ("export tiny.onnx --calibration confg", "config"),
        ("export tiny.onnx --calibration confg/images", "config"),
        ("verify confg", "config"),
        ("predict confg x.png", "config"),
        ("inspect tiny.onx", "tiny.onnx"),
        ("compare key.tom 1", "key.toml"),
        ("report key.tom", "key.toml"),
    ],
)
def test_near_names_are_offered(line: str, near: str) -> None:
    done = CliRunner().invoke(cli, line.split())
    error = done.exception
    said = f"{error.message} {error.hint}" if isinstance(error, EdgeconvError) else done.output
    assert "did you mean" in said, said
    assert f"'{near}'" in said.partition("did you mean")[2]


def test_tasks() -> None:
    with pytest.raises(EdgeconvError, match="did you mean 'classification'"):
        open_task("clasification")


def test_nothing_is_offered_that_is_not_near() -> None:
    assert did_you_mean("xyz", ["mobilenet_v2"], "list them") == "list them"


def test_near_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    cats = str(tmp_path / "photos" / "cats")
    assert near_paths(tmp_path / "photos" / "cat") == f"did you mean {cats!r}?"
    assert near_paths(tmp_path / "photo" / "cat") == f"did you mean {str(tmp_path / 'photos')!r}?"
    monkeypatch.chdir(tmp_path / "photos")
    assert near_paths(Path("cat")) == "did you mean 'cats'?"
    # What is there, what cannot be looked up, and what has no near name.
    for path in ("cats", "x\0", "c" * 5000, "dogs", "", "/", ".."):
        assert near_paths(Path(path), "check the path") == "check the path"
    (tmp_path / "photos" / "cats").rmdir()
    (tmp_path / "photos").rmdir()  # the current folder is gone
    assert near_paths(Path("cat"), "check the path") == "check the path"
