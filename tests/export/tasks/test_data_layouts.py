"""The field's data layouts as they are: ImageNet with its devkit, and folders of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.data.classes import open_classes
from edgeconv.export.data.masks import IGNORED, open_masks
from edgeconv.preprocessing import Fit, Preprocessing
from support.manifests import made_manifest

# The devkit's numbers are not in the order of the WordNet IDs; 4 is no leaf.
SYNSETS = [(1, "n02", 0), (2, "n01", 0), (3, "n03", 0), (4, "n00", 2)]
TRUTH = [2, 3, 1, 1, 2]
CLASSES = [0, 2, 1, 1, 0]  # by the sorted WordNet IDs


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Four of five validation images and the devkit."""
    savemat = pytest.importorskip("scipy.io", reason="SciPy writes the devkit's file").savemat
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(number, name, f"words of {name}", children) for number, name, children in SYNSETS]
    data = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": np.array(rows, dtype=kinds)})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, TRUTH)) + "\n")
    (tmp_path / "val").mkdir()
    for number in (1, 2, 4, 5):
        file = tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.JPEG"
        Image.new("RGB", (9, 9), (40 * number, 0, 0)).save(file, format="JPEG", quality=100)
    return tmp_path


def test_imagenet_as_it_is(imagenet: Path) -> None:
    devkit = imagenet / "ILSVRC2012_devkit_t12"
    manifest = made_manifest((1, 3, 8, 8), (1, 3))
    for truth in (devkit, devkit / "data"):
        labeled = open_classes(imagenet / "val", truth, manifest, 3)
        found = [(round(sample[0].max() * 255 / 40), label) for sample, label in labeled.pairs]
        assert found == [(number, CLASSES[number - 1]) for number in (1, 2, 4, 5)]
        assert labeled.total == 4


def test_imagenet_that_does_not_fit(imagenet: Path) -> None:
    devkit, manifest = imagenet / "ILSVRC2012_devkit_t12", made_manifest((1, 3, 8, 8), (1, 4))
    with pytest.raises(MismatchedData, match=r"has 4 classes, and .*meta.mat has 3"):
        open_classes(imagenet / "val", devkit, manifest, 4)
    with pytest.raises(DataError, match=r"not in a class folder\nhint: .*truth"):
        open_classes(imagenet / "val", None, manifest, 3)
    with pytest.raises(UsageError, match=r"hint: unpack ILSVRC2012_devkit_t12.tar.gz"):
        open_classes(imagenet / "val", imagenet / "val", manifest, 3)
    Image.new("RGB", (9, 9)).save(imagenet / "val" / "ILSVRC2012_val_00000006.JPEG")
    with pytest.raises(DataError, match=r"00000006.JPEG is not one of the 5 validation images"):
        open_classes(imagenet / "val", devkit, manifest, 3)
    (devkit / "data" / "meta.mat").write_bytes(b"no MATLAB")
    with pytest.raises(DataError, match=r"is not the meta.mat"):
        open_classes(imagenet / "val", devkit, manifest, 3)


def masked(folder: Path, size: tuple[int, int] = (12, 8)) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, of which every pixel's class is in the image's red channel too."""
    mask = np.random.default_rng(0).integers(0, 3, size[::-1]).astype(np.uint8)
    (folder / "images" / "one").mkdir(parents=True)
    (folder / "masks" / "one").mkdir(parents=True)
    image = np.stack([mask * 100, mask * 0, mask * 0], -1)
    Image.fromarray(image).save(folder / "images" / "one" / "a.png")
    palette = Image.fromarray(mask, "P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 1, 1])
    palette.save(folder / "masks" / "one" / "a.png")
    return image, mask


@pytest.mark.parametrize("fit", Fit)
def test_a_mask_is_fitted_as_its_image_is(tmp_path: Path, fit: Fit) -> None:
    masked(tmp_path)
    how = Preprocessing(fit=fit, interpolation="nearest", mean=(0.0,) * 3, std=(1.0,) * 3)
    manifest = made_manifest((1, 3, 8, 8), (1, 3, 8, 8), preprocessing=how)
    labeled = open_masks(tmp_path / "images", tmp_path / "masks", manifest)
    ((sample, mask),) = labeled.pairs
    counted = mask != IGNORED
    assert np.array_equal((sample[0][0, 0] * 2.55).round()[counted], mask[counted])
    assert counted.all() == (fit is not Fit.LETTERBOX)
    assert counted.any()
    assert mask.shape == (8, 8)


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    image, mask = masked(tmp_path)
    manifest = made_manifest((1, 3, 8, 8), (1, 3, 8, 8))
    images, masks = tmp_path / "images", tmp_path / "masks"

    def message(truth: Path | None) -> Any:
        with pytest.raises((DataError, UsageError)) as raised:
            list(open_masks(images, truth, manifest).pairs)
        assert raised.value.hint
        return raised.value.message

    assert "masks of" in message(None)
    assert "no such folder" in message(tmp_path / "nowhere")
    truth = tmp_path / "instances.json"
    truth.write_text("{}")
    assert message(truth).startswith(f"{truth} is a file, where the masks of")
    Image.fromarray(image).save(masks / "one" / "a.png")
    assert "a.png is RGB, not a mask" in message(masks)
    Image.fromarray(mask[:5]).save(masks / "one" / "a.png")
    assert "a.png is 12x5 pixels, and its image 12x8" in message(masks)
    (masks / "one" / "a.png").unlink()
    assert "has no mask" in message(masks)
