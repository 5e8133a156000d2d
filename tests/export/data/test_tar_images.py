"""Images in tar archives are the samples that they are in a folder."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeconv.bundle import TensorInfo
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.classes import open_classes
from edgeconv.export.data.coco import open_coco
from edgeconv.export.data.images import open_images
from edgeconv.export.data.masks import open_masks
from edgeconv.export.data.open import open_samples
from edgeconv.export.data.truth import Labeled
from support.archives import pack, write_webdataset
from support.manifests import made_manifest

MANIFEST = made_manifest((1, 3, 16, 16), (1, 4))


def same(one: Labeled[int], other: Labeled[int]) -> None:
    pairs, others = list(one.pairs), list(other.pairs)
    assert [label for _, label in pairs] == [label for _, label in others]
    for (sample, _), (again, _) in zip(pairs, others, strict=True):
        assert np.array_equal(sample[0], again[0])


def test_a_tar_of_class_folders_is_the_folder(images: Path, tmp_path: Path) -> None:
    tar = pack(images, tmp_path / "val.tar")
    folder, packed = (open_classes(path, None, MANIFEST, 4) for path in (images, tar))
    same(folder, packed)
    assert packed.sha256() == folder.sha256(), "the same names and the same bytes"
    assert packed.total == 24
    names = [
        [name for name, _ in open_samples(p, MANIFEST.inputs, None).in_order()]
        for p in (images, tar)
    ]
    assert names[0] == names[1], "calibration takes the same ones, and calls them the same"
    half = list(packed.read(range(12, 24)))
    assert [label for _, label in half] == [2] * 6 + [3] * 6


@pytest.mark.parametrize("shards", [1, 3])
def test_a_webdataset_is_the_folder(images: Path, tmp_path: Path, shards: int) -> None:
    write_webdataset(images, tmp_path / "data", shards)
    folder = open_classes(images, None, MANIFEST, 4)
    same(folder, open_classes(tmp_path / "data", None, MANIFEST, 4))
    named = tmp_path / "data" / f"shard-{{000..{shards - 1:03}}}.tar"
    same(folder, open_classes(named, None, MANIFEST, 4))
    found = open_samples(named, MANIFEST.inputs, None)
    assert found.at_most(99) == 24
    assert len({name for name, _ in found.in_order()}) == 24


def test_what_decides_is_in_the_hash(images: Path, tmp_path: Path) -> None:
    digests = set()
    for place, turn in enumerate((0, 1)):
        write_webdataset(images, tmp_path / str(place), 1, turn=turn)
        digests.add(open_classes(tmp_path / str(place), None, MANIFEST, 4).sha256())
    assert len(digests) == 2, "other labels are other data"


def test_images_in_a_folder_count_before_archives(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    (folder / "class0").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(folder / "class0" / "a.png")
    pack(images, folder / "val.tar")
    assert len(open_images(folder, MANIFEST.inputs, None)) == 1


def test_other_files_of_a_sample_are_left_alone(tmp_path: Path) -> None:
    class Mine:
        def __reduce__(self) -> tuple[object, ...]:
            return exec, ("raise SystemExit('it was unpickled')",)

    png = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(png, "PNG")
    files = {
        "x/1.0.pyd": pickle.dumps(Mine()),
        "x/1.cls": b" 2\n",
        "x/1.seg.png": b"a mask, no picture",
        "x/1.PNG": png.getvalue(),
        "x/1.json": b"{}",
    }
    write_files(tmp_path / "x.tar", files)
    ((sample, label),) = open_classes(tmp_path / "x.tar", None, MANIFEST, 4).pairs
    assert label == 2
    assert sample[0][0, 0].min() == 1.0


def write_files(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


PNG = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(PNG, "PNG")
IMAGE = PNG.getvalue()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"1.png": IMAGE, "2.png": IMAGE, "2.cls": b"1"}, r"1\.png has no \.cls .* 1 of 2 images"),
        ({"1.png": IMAGE, "1.cls": b"1", "2.cls": b"1"}, r"2\.cls has no image beside it"),
        ({"1.png": IMAGE, "1.jpg": IMAGE, "1.cls": b"1"}, r"1\.jpg is the second image .* 1\.png"),
        ({"1.png": IMAGE, "1.cls": b"cat"}, r"1\.cls states no class"),
        ({"1.png": IMAGE, "1.cls": b"-1"}, r"1\.cls states no class"),
        ({"1.png": IMAGE, "1.cls": b"1" * 99}, r"1\.cls states no class"),
        ({"1.png": IMAGE, "1.cls": "\N{SUPERSCRIPT TWO}".encode()}, r"1\.cls states no class"),
        ({"1.png": IMAGE, "1.cls": b"4"}, r"states class 4, and the network has 4 classes"),
        ({"1.png": IMAGE}, r"1\.png is not in a class folder"),
        ({"1.txt": b""}, r"x\.tar holds no images"),
        ({}, r"x\.tar holds no images"),
        ({"one/1.png": IMAGE}, r"has 1 class folder and the network 4 outputs"),
    ],
)
def test_labels_that_are_refused(tmp_path: Path, files: dict[str, bytes], said: str) -> None:
    path = write_files(tmp_path / "x.tar", files)
    with pytest.raises(DataError, match=said):
        list(open_classes(path, None, MANIFEST, 4).pairs)


def test_class_folders_one_level_down(tmp_path: Path) -> None:
    (tmp_path / "set/val/cat").mkdir(parents=True)
    (tmp_path / "set/val/cat/1.png").write_bytes(IMAGE)
    (tmp_path / "set/train/cat").mkdir(parents=True)
    (tmp_path / "set/train/cat/1.png").write_bytes(IMAGE)
    # Two folders for two outputs, which would count as classes.
    with pytest.raises(DataError, match=r"has parts of a data set .*: train, val") as split:
        open_classes(tmp_path / "set", None, MANIFEST, 2)
    assert split.value.hint is not None
    assert f"{tmp_path / 'set/train'}, pass that" in split.value.hint
    with pytest.raises(DataError, match="has 1 class folder and the network 4 outputs") as wrapped:
        open_classes(tmp_path, None, MANIFEST, 4)
    assert wrapped.value.hint is not None
    assert f"{tmp_path / 'set'}, pass that" in wrapped.value.hint
    tar = write_files(tmp_path / "x.tar", {"photos/a/1.png": IMAGE, "photos/b/1.png": IMAGE})
    with pytest.raises(DataError, match="has 1 class folder") as packed:
        open_classes(tar, None, MANIFEST, 4)
    assert packed.value.hint == "if the class folders lie in photos, pack its content alone"
    # Folders below a class are of that class.
    deep = write_files(tmp_path / "y.tar", {"a/x/1.png": IMAGE, "test/y/1.png": IMAGE})
    assert [label for _, label in open_classes(deep, None, MANIFEST, 2).pairs] == [0, 1]


def test_an_unreadable_image_is_skipped_and_named(tmp_path: Path) -> None:
    files = {"a/1.png": IMAGE[:400], "b/2.png": IMAGE, "b/3.png": b"junk"}
    found = open_classes(write_files(tmp_path / "x.tar", files), None, MANIFEST, None)
    assert [label for _, label in found.pairs] == [1]
    assert found.skipped[0].startswith("a/1.png ends too early")
    assert found.skipped[1].startswith("b/3.png is no image")


def test_paths_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.tar: no such file"):
        open_classes(tmp_path / "none.tar", None, MANIFEST, 4)
    with pytest.raises(UsageError, match=r"s-0\.tar: no such file"):
        open_samples(tmp_path / "s-{0..9}.tar", MANIFEST.inputs, None)
    vectors = [TensorInfo(name="x", shape=(1, 4), dtype="float32")]
    path = write_files(tmp_path / "x.tar", {"a/1.png": IMAGE})
    with pytest.raises(UsageError, match="input is not one gray or color image"):
        open_samples(path, vectors, None)


def test_masks_and_boxes_of_images_in_a_tar(images: Path, tmp_path: Path) -> None:
    tar = pack(images, tmp_path / "val.tar")
    for file in images.rglob("*.png"):
        mask = tmp_path / "masks" / file.relative_to(images)
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(file))[:, :, 0] % 4).save(mask)
    found, packed = (open_masks(path, tmp_path / "masks", MANIFEST) for path in (images, tar))
    for (_, mask), (_, again) in zip(found.pairs, packed.pairs, strict=True):
        assert np.array_equal(mask, again)
        assert mask.max() > 0
    truth = tmp_path / "instances.json"
    names = ", ".join(
        f'{{"file_name": "{name.relative_to(images).as_posix()}", "id": {number}, '
        '"width": 24, "height": 20}'
        for number, name in enumerate(sorted(images.rglob("*.png")))
    )
    truth.write_text(f'{{"images": [{names}], "annotations": [], "categories": []}}')
    labeled, _ = open_coco(tar, truth, MANIFEST)
    assert [image.number for _, image in labeled.pairs] == list(range(24))
