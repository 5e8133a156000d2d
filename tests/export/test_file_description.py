"""What a file says of itself, read by readers that are not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from torch import nn

from edgeconv.bundle import Bundle, Format, Manifest
from edgeconv.errors import UsageError
from edgeconv.export import export
from edgeconv.preprocessing import Preprocessing
from support import tflite_metadata

pytestmark = pytest.mark.slow

HOW = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
LABELS = ("a cat", "ein Käfer", "two\nlines", "猫", "e")
ABOUT = {"author": "N. N.", "license": "CC0-1.0", "version": "1.10", "description": "five classes"}


def classifier() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(800, 5), nn.Softmax(1)
    ).eval()


def picture() -> Any:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((20, 20)))


def made(out: Path, **options: Any) -> Bundle:
    samples = np.stack([np.roll(picture(), shift, 1) for shift in range(20)]).transpose(0, 3, 1, 2)
    return export(
        classifier(),
        out=out,
        name="net",
        input_size=20,
        calibration=samples,
        preprocessing=HOW,
        labels=LABELS,
        about=ABOUT,
        **options,
    )


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("described")
    return {
        "values": made(folder / "values"),
        "quantized values": made(folder / "quantized", io="uint8"),
        "bytes": made(folder / "bytes", inputs=["image"]),
        "uint8": made(folder / "uint8", inputs=["image"], io="uint8"),
        "int8": made(folder / "int8", inputs=["image"], io="int8"),
    }


def tflite(bundle: Bundle) -> list[Path]:
    return [bundle.file(a) for a in bundle.manifest.artifacts if a.format is Format.TFLITE]


def test_the_standard_metadata(bundles: dict[str, Bundle]) -> None:
    for bundle in bundles.values():
        for path in tflite(bundle):
            found = tflite_metadata.read(path)
            (graph,) = found["subgraph_metadata"]
            (taken,), (given,) = graph["input_tensor_metadata"], graph["output_tensor_metadata"]
            assert {key: found[key] for key in ABOUT} == ABOUT
            assert (taken["name"], given["name"]) == ("input", "output")
            assert taken["content"]["content_properties_type"] == 2  # ImageProperties
            properties = taken["content"]["content_properties"]
            assert properties == {"color_space": 1, "default_size": {"width": 20, "height": 20}}
            assert given["associated_files"] == [{"name": "labels.txt", "type": 2}]
            lines = tflite_metadata.files(path)["labels.txt"].decode().splitlines()
            assert lines == ["a cat", "ein Käfer", "two lines", "猫", "e"]
            signatures = Interpreter(str(path)).get_signature_list()
            assert signatures == {"serving_default": {"inputs": ["input"], "outputs": ["output"]}}


@pytest.mark.parametrize("name", ["values", "quantized values", "bytes", "uint8", "int8"])
def test_a_reader_of_the_normalization_feeds_the_file_right(
    bundles: dict[str, Bundle], name: str
) -> None:
    """(byte - mean) / std, then the tensor's own scale and zero point, as the schema says."""
    bundle = bundles[name]
    how = bundle.manifest.preprocessing
    assert how is not None
    with torch.inference_mode():
        x = (picture() / 255 - np.array(HOW.mean)) / np.array(HOW.std)
        given = torch.from_numpy(x.astype(np.float32).transpose(2, 0, 1)[None])
        right = classifier()(given).numpy()[0]
    for path in tflite(bundle):
        (graph,) = tflite_metadata.read(path)["subgraph_metadata"]
        (taken,) = graph["input_tensor_metadata"]
        (unit,) = taken["process_units"]
        assert unit["options_type"] == 1  # NormalizationOptions
        mean, std = (np.array(unit["options"][key]) for key in ("mean", "std"))
        assert taken["stats"]["min"] == pytest.approx(list((0 - mean) / std), abs=1e-5)
        assert taken["stats"]["max"] == pytest.approx(list((255 - mean) / std), rel=1e-5)
        model = Interpreter(str(path))
        model.allocate_tensors()
        (info,), (out,) = model.get_input_details(), model.get_output_details()
        values = (picture() - mean) / std
        scale, zero = info["quantization"]
        if scale:
            limits = np.iinfo(info["dtype"])
            values = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
        model.set_tensor(info["index"], values[None].astype(info["dtype"]))
        model.invoke()
        got = model.get_tensor(out["index"])[0].astype(np.float32)
        if out["quantization"][0]:
            got = (got - out["quantization"][1]) * out["quantization"][0]
        # Probabilities: float32 rounds, and int8 layers are off by a few of 256 steps.
        assert np.abs(got - right).max() < (1e-5 if "float32" in path.name else 0.03)


def test_onnx_files_say_the_same(bundles: dict[str, Bundle]) -> None:
    for name, bundle in bundles.items():
        for path in bundle.path.glob("*.onnx"):
            said = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
            assert {key: said[key] for key in ABOUT} == ABOUT
            assert json.loads(said["labels"]) == list(LABELS)
            (taken,) = json.loads(said["inputs"])
            plain = name in ("values", "quantized values")
            assert taken["mean"] == pytest.approx([102, 127.5, 153] if plain else [0, 0, 0])
            assert taken["std"] == pytest.approx([51, 63.75, 76.5] if plain else [1, 1, 1])
            assert (taken["name"], taken["color"]) == ("input", "rgb")
            assert json.loads(said["outputs"]) == [{"name": "output"}]
            assert said["provenance_sha256"] == bundle.manifest.provenance_sha256


def test_the_hash_ties_the_files_to_the_manifest(bundles: dict[str, Bundle]) -> None:
    hashes = set()
    for bundle in bundles.values():
        manifest = Manifest.load(bundle.path / "manifest.json")
        hashes.add(manifest.provenance_sha256)
        assert manifest.provenance() == manifest.provenance_sha256
        for path in tflite(bundle):
            entries = tflite_metadata.entries(path)
            assert entries["provenance_sha256"].decode() == manifest.provenance_sha256
            assert entries["edgeconv_version"].decode() == manifest.edgeconv_version
    assert len(hashes) == 2  # on values, and on bytes


@pytest.mark.slow
def test_exports_are_the_same_to_the_byte(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    again = made(tmp_path / "again", inputs=["image"], io="uint8")
    first = bundles["uint8"]
    for path in first.path.iterdir():
        assert path.read_bytes() == (again.path / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_what_is_no_picture(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval()
    bundle = export(network, out=tmp_path / "out", input_size=(6,), formats=["tflite"])
    (path,) = tflite(bundle)
    (graph,) = tflite_metadata.read(path)["subgraph_metadata"]
    (taken,) = graph["input_tensor_metadata"]
    assert taken == {
        "name": "input",
        "content": {"content_properties_type": 1, "content_properties": {}},
    }
    assert not path.read_bytes().endswith(b"PK")
    assert b"labels.txt" not in path.read_bytes()


def test_nothing_else_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no 'licence' .*\nhint: did you mean 'license'"):
        export(classifier(), out=tmp_path / "out", input_size=20, about={"licence": "MIT"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bytes", "uint8"])
def test_mediapipe_classifies(bundles: dict[str, Bundle], name: str) -> None:
    """The program that most files with metadata are for, where it is installed.

    It refuses a normalization that differs between channels, as normalized values need it.
    """
    mediapipe = pytest.importorskip("mediapipe", exc_type=ImportError)
    from mediapipe.tasks.python import BaseOptions, vision

    for path in tflite(bundles[name]):
        options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)))
        with vision.ImageClassifier.create_from_options(options) as classify:
            image = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture())
            )
            (head,) = classify.classify(image).classifications
        with torch.inference_mode():
            x = (picture() / 255 - np.array(HOW.mean)) / np.array(HOW.std)
            given = torch.from_numpy(x.astype(np.float32).transpose(2, 0, 1)[None])
            right = classifier()(given).numpy()[0]
        scores = {each.category_name: each.score for each in head.categories}
        assert list(scores) == [" ".join(LABELS[i].split("\n")) for i in np.argsort(-right)]
        bound = 1e-4 if "float32" in path.name else 0.03
        assert (
            max(
                abs(scores[label] - value)
                for label, value in zip(
                    [" ".join(each.split("\n")) for each in LABELS], right, strict=True
                )
            )
            < bound
        )


@pytest.mark.slow
def test_the_public_reader(bundles: dict[str, Bundle]) -> None:
    """tflite-support, where it is installed."""
    module = "tensorflow_lite_support.metadata.python.metadata"
    metadata = pytest.importorskip(module, exc_type=ImportError)
    for bundle in bundles.values():
        for path in tflite(bundle):
            found = metadata.MetadataDisplayer.with_model_file(str(path))
            said = json.loads(found.get_metadata_json())
            assert said["author"] == ABOUT["author"]
            (graph,) = said["subgraph_metadata"]
            (taken,) = graph["input_tensor_metadata"]
            assert taken["content"]["content_properties"]["color_space"] == "RGB"
            assert found.get_packed_associated_file_list() == ["labels.txt"]
