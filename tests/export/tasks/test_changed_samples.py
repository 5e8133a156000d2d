"""The samples that int8 changed: which they are, against NumPy, and their pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from edgeconv.bundle import Bundle, Precision, TensorInfo
from edgeconv.cli import cli
from edgeconv.evaluation import Evaluation
from edgeconv.export import export
from edgeconv.export.data.picture import picture
from edgeconv.export.data.preprocess import normalize
from edgeconv.export.runtimes import open_runner
from edgeconv.preprocessing import Color, Preprocessing

SIZE = 12


def pixels(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Smooth colored waves."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, (count, 3, 1, 1)) + rng.uniform(0.2, 1, (count, 3, 1, 1)) * (
        np.arange(SIZE)[:, None] + np.arange(SIZE)
    )
    waves: npt.NDArray[np.uint8] = (127 + 120 * np.sin(phase)).astype(np.uint8)
    return waves


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(512, 600)
    )
    return export(
        network,
        out=tmp_path_factory.mktemp("bundle") / "b",
        input_size=SIZE,
        precisions=["float32", "int8"],
        calibration=pixels(64, 1),
        preprocessing=Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), color=Color.BGR),
    )


@pytest.mark.slow
def test_the_first_changed_samples(bundle: Bundle, tmp_path: Path) -> None:
    x, y = pixels(200, 2), np.arange(200)
    np.savez(tmp_path / "d.npz", x=x, y=y)
    page, out = tmp_path / "page.html", tmp_path / "r.json"
    arguments = ["evaluate", bundle.path, "--data", tmp_path / "d.npz", "--quiet"]
    arguments += ["--html", page, "-o", out, "--pictures", "3"]
    done = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    result = Evaluation.load(out)
    said = {}
    for artifact in bundle.manifest.artifacts:
        interface = artifact.inputs, artifact.outputs, bundle.manifest
        runner = open_runner(bundle.file(artifact), artifact.format, *interface)
        samples = normalize(x, bundle.manifest.preprocessing)
        scores = np.concatenate([runner.run((samples[i : i + 1],))[0] for i in range(len(x))])
        said[artifact.path] = scores.argmax(1)
    for each in result.results:
        np.testing.assert_array_equal(result.predicted_classes(each), said[each.path])
    np.testing.assert_array_equal(result.true_classes, y)
    expected = next(
        said[a.path] for a in bundle.manifest.artifacts if a.precision is Precision.FLOAT32
    )
    changed = np.any(
        [
            said[a.path] != expected
            for a in bundle.manifest.artifacts
            if a.precision is Precision.INT8
        ],
        axis=0,
    )
    assert changed.sum() > 3  # the network's scores lie close together
    assert [each.sample for each in result.pictures] == np.flatnonzero(changed)[:3].tolist()
    for each in result.pictures:
        image = Image.open(io.BytesIO(base64.b64decode(each.png)))
        # The array holds the channels as the network takes them, blue first.
        np.testing.assert_array_equal(np.asarray(image), x[each.sample][::-1].transpose(1, 2, 0))
    assert page.read_text("utf-8").count("<img ") == 3


@pytest.mark.slow
def test_no_pictures_unless_asked(bundle: Bundle, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=pixels(8, 2), y=np.arange(8))
    arguments = ["evaluate", bundle.path, "--data", tmp_path / "d.npz", "--json"]
    done = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert Evaluation.model_validate_json(done.stdout).pictures == ()


@pytest.mark.slow
def test_a_page_that_cannot_be_written_is_refused_at_once(bundle: Bundle, tmp_path: Path) -> None:
    arguments = ["evaluate", bundle.path, "--data", "none.npz", "--html", tmp_path / "no" / "p"]
    done = CliRunner().invoke(cli, list(map(str, arguments)))
    assert "its folder does not exist" in str(done.exception) + done.output


def test_a_picture_without_preprocessing_and_of_one_channel() -> None:
    info = TensorInfo(name="x", shape=(1, 1, 200, 100), dtype="float32")
    ramp = np.broadcast_to(np.linspace(-3, 5, 100), (1, 1, 200, 100)).astype(np.float32)
    image = Image.open(io.BytesIO(picture(ramp, info, None, 96)))
    assert (image.mode, image.size) == ("L", (48, 96))
    row = np.asarray(image)[48].astype(int)
    assert row[0] < 5
    assert row[-1] > 250
    assert (np.diff(row) > 0).all()
    flat = picture(np.ones((1, 1, 200, 100), np.float32), info, None, 96)
    assert np.asarray(Image.open(io.BytesIO(flat))).max() == 0
