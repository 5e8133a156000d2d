"""Boxes in another form, classes in another order: figures near zero that are not the network's."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeconv.errors import DataError
from edgeconv.export.data.coco import CocoImage
from edgeconv.export.data.truth import Labeled
from edgeconv.export.tasks.box_readings import found_in_each, other_form, overlaps
from edgeconv.export.tasks.detection import Detection
from edgeconv.export.tasks.found_boxes import checked, decoded
from edgeconv.preprocessing import Fit, Preprocessing
from support.manifests import made_manifest

pytest.importorskip("pycocotools", reason="the extra coco is not installed")

LETTERBOX = Preprocessing(fit=Fit.LETTERBOX, mean=(0.0,) * 3, std=(1.0,) * 3)
SIZE = 40
KINDS = ("dog", "cat", "bird")
NUMBERS = {"dog": 18, "cat": 3, "bird": 9}


def made_coco(folder: Path, number: int = 20) -> tuple[Path, dict[str, Any]]:
    """Square images of twice the input's side with two boxes each, and their JSON."""
    random = np.random.default_rng(4)
    (folder / "images").mkdir()
    images, annotations = [], []
    for index in range(number):
        name = f"{index}.png"
        Image.new("RGB", (2 * SIZE, 2 * SIZE), (index, 0, 0)).save(folder / "images" / name)
        images.append({"id": index, "file_name": name, "width": 2 * SIZE, "height": 2 * SIZE})
        for left in (2.0, 42.0):
            width, height = random.integers(12, 36, 2).tolist()
            annotations.append(
                {
                    "image_id": index,
                    "category_id": NUMBERS[KINDS[len(annotations) % 3]],
                    "bbox": [left, float(random.integers(0, 40)), width, height],
                }
            )
    categories = [{"id": number, "name": name} for name, number in NUMBERS.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    return written(folder, document), document


def written(folder: Path, document: dict[str, Any]) -> Path:
    (folder / "coco.json").write_text(json.dumps(document))
    return folder / "coco.json"


def in_input(document: dict[str, Any], image: int) -> list[tuple[np.ndarray, str]]:
    """The true corners of an image in pixels of the input, and the names of their categories."""
    names = {number: name for name, number in NUMBERS.items()}
    return [
        (np.array([x, y, x + w, y + h]) / 2, names[each["category_id"]])
        for each in document["annotations"]
        if each["image_id"] == image
        for x, y, w, h in [each["bbox"]]
    ]


def doubts_of(
    folder: Path, labels: tuple[str, ...] | None, change: Any, shift: int = 0
) -> tuple[float, str]:
    """The mAP of right boxes that are written in another form, and what is said of it."""
    file, document = made_coco(folder)
    manifest = made_manifest((1, 3, SIZE, SIZE), (1, 2, 4), (1, 2), (1, 2), preprocessing=LETTERBOX)
    kinds = manifest.outputs[2].model_copy(update={"dtype": "int64"})
    outputs = (*manifest.outputs[:2], kinds)
    task = Detection()
    labeled = task.open(
        folder / "images",
        file,
        manifest.model_copy(update={"outputs": outputs, "labels": labels}),
    )
    parts = []
    for _, image in labeled.pairs:
        true = in_input(document, image.number)
        corners = np.array([box for box, _ in true])
        classes = np.array([KINDS.index(name) + shift for _, name in true])
        found = [change(corners).astype(np.float32), np.full(2, 0.9, np.float32), classes]
        parts.append(task.count([array[None] for array in found], [image]))
    counts = task.merge(parts)
    said = " | ".join(map(str, task.doubts(counts)))
    return task.score(counts, None).figures[0].value, said


def center(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (center, "40 if they are center x, center y, width, height in pixels"),
        (lambda boxes: boxes / SIZE, "40 if they are corners x1, y1, x2, y2 as shares"),
        (lambda boxes: center(boxes) / SIZE, "40 if they are center x, center y, width, height as"),
        (lambda boxes: boxes[:, [1, 0, 3, 2]], "40 if they are corners y1, x1, y2, x2 in pixels"),
        (
            lambda boxes: boxes[:, [1, 0, 3, 2]] / SIZE,
            "40 if they are corners y1, x1, y2, x2 as shares of the input",
        ),
        (
            lambda boxes: np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1),
            "40 if they are x, y, width, height in pixels",
        ),
    ],
)
def test_boxes_in_another_form_are_named(tmp_path: Path, change: Any, said: str) -> None:
    figure, doubts = doubts_of(tmp_path, KINDS, change)
    assert figure < 0.3
    assert said in doubts


def test_shares_are_named_in_a_single_image(tmp_path: Path) -> None:
    """Three true boxes are too few to say in which form they would be found."""
    box = {"image_id": 0, "category_id": 18}
    boxes = [{**box, "bbox": [left, 4, 20, 20]} for left in (5, 30, 55)]
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 80)).save(tmp_path / "images" / "0.png")
    images = [{"id": 0, "file_name": "0.png", "width": 80, "height": 80}]
    categories = [{"id": 18, "name": "dog"}]
    written(tmp_path, {"images": images, "annotations": boxes, "categories": categories})
    manifest = made_manifest((1, 3, SIZE, SIZE), (1, 2, 6), preprocessing=LETTERBOX)
    task = Detection()
    labeled = task.open(tmp_path / "images", tmp_path / "coco.json", manifest)
    ((_, image),) = labeled.pairs
    for scale, score, named in ((1 / SIZE, 0.5, True), (1.0, 0.5, False), (0.0, 0.0, False)):
        rows = np.array([[[*(np.array([3.0, 2, 12, 12]) * scale), score, 0]]], np.float32)
        said = " ".join(map(str, task.doubts(task.count([rows], [image]))))
        assert ("no number of the network's boxes is above 1" in said) == named


def test_right_boxes_leave_no_doubt(tmp_path: Path) -> None:
    assert doubts_of(tmp_path, KINDS, lambda boxes: boxes) == (pytest.approx(1.0), "")


def test_classes_in_another_order_are_named(tmp_path: Path) -> None:
    """Without labels a class is the place among the categories sorted by number."""
    figure, doubts = doubts_of(tmp_path, None, lambda boxes: boxes)
    assert figure < 0.3
    assert "the classes of the data seem to be in another order" in doubts
    assert "what is 'cat' is mostly class 1 to the network" in doubts


def test_classes_that_begin_at_1_are_named(tmp_path: Path) -> None:
    figure, doubts = doubts_of(tmp_path, KINDS, lambda boxes: boxes, shift=1)
    assert figure < 0.3
    assert "13 boxes are of classes outside 0…2, and count for nothing" in doubts
    assert "what is 'dog' is mostly class 1 to the network" in doubts


def test_no_box_at_all_is_named(tmp_path: Path) -> None:
    _, doubts = doubts_of(tmp_path, KINDS, lambda boxes: boxes, shift=70)
    assert doubts.startswith("no box of a known class was found in 20 images")


def test_boxes_whose_corners_are_turned_are_named(tmp_path: Path) -> None:
    found, doubts = doubts_of(tmp_path, KINDS, lambda boxes: boxes[:, [2, 3, 0, 1]])
    assert found == 0.0
    assert "40 boxes have x2 below x1 or y2 below y1" in doubts


def test_a_crop_that_loses_boxes_is_named(tmp_path: Path) -> None:
    """The middle of a wide image, which has none of its two boxes."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (160, 40)).save(tmp_path / "images" / "0.png")
    box = {"image_id": 0, "category_id": 18}
    boxes = [{**box, "bbox": [left, 4, 20, 20]} for left in (5, 130)]
    images = [{"id": 0, "file_name": "0.png", "width": 160, "height": 40}]
    categories = [{"id": 18, "name": "dog"}]
    written(tmp_path, {"images": images, "annotations": boxes, "categories": categories})
    for fit, lost in ((Fit.CROP, True), (Fit.SQUASH, False), (Fit.LETTERBOX, False)):
        how = LETTERBOX.model_copy(update={"fit": fit})
        manifest = made_manifest((1, 3, SIZE, SIZE), (1, 2, 6), preprocessing=how)
        task = Detection()
        labeled = task.open(tmp_path / "images", tmp_path / "coco.json", manifest)
        ((_, image),) = labeled.pairs
        rows = np.array([[[1, 1, 9, 9, 0.5, 0]]], np.float32)
        said = " ".join(map(str, task.doubts(task.count([rows], [image]))))
        assert ("2 of 2 true boxes lie outside of what the network sees" in said) == lost


def test_few_boxes_are_no_evidence() -> None:
    """Two of a hundred true boxes in another form, none in the documented one."""
    found, none = np.array([0, 2, 0, 0, 0, 0, 0, 0]), np.zeros(8, np.int64)
    assert other_form(found, none, 100) is None
    assert other_form(found, none, 2) is None


@pytest.mark.parametrize("number", [3, 20])
@pytest.mark.parametrize("size", [(16, 38), (4, 6), (8, 36)])
@pytest.mark.parametrize("kind", ["constant", "constant wide", "guesses", "many guesses"])
def test_a_poor_detector_leaves_no_doubt(kind: str, size: tuple[int, int], number: int) -> None:
    """Boxes that have nothing to do with the image hit large true boxes in some form."""
    for seed in range(8):
        random = np.random.default_rng(seed)

        def boxes(count: int, least: int, most: int, random: Any = random) -> np.ndarray:
            extents = random.uniform(least, most, (count, 2))
            low = random.random((count, 2)) * (SIZE - extents)
            return np.concatenate((low, low + extents), 1)

        true = [boxes(2, *size) for _ in range(number)]
        totals = np.zeros((2, 8), np.int64)
        for index, each in enumerate(true):
            found = {
                "constant": np.array([[10.0, 10, 30, 30]]),
                "constant wide": np.array([[4.0, 12, 33, 25]]),
                "guesses": boxes(10, 4, 25),
                "many guesses": boxes(300, 4, 25),
            }[kind]
            for total, others in zip(totals, (each, true[index - 1]), strict=True):
                total += found_in_each(found, others, (SIZE, SIZE))
        assert other_form(*totals, 2 * number) is None


def test_objects_that_fill_their_images_are_evidence() -> None:
    """The boxes of another image are then found as well in the right form."""
    random = np.random.default_rng(0)
    true = [np.array([[4.0, 2, 36, 30]]) + random.uniform(-2, 2, 4) for _ in range(12)]
    totals = np.zeros((2, 8), np.int64)
    for index, each in enumerate(true):
        for total, others in zip(totals, (each, true[index - 1]), strict=True):
            total += found_in_each(center(each), others, (SIZE, SIZE))
    assert totals[1].max() >= 10
    assert other_form(*totals, 12) == ("center x, center y, width, height in pixels", 12)


def test_the_overlap_is_that_of_pycocotools() -> None:
    from pycocotools import mask

    random = np.random.default_rng(2)
    boxes, others = (np.sort(random.uniform(0, 30, (n, 2, 2)), axis=1) for n in (9, 5))
    extents = [np.concatenate((each[:, 0], each[:, 1] - each[:, 0]), 1) for each in (boxes, others)]
    expected = mask.iou(*extents, [0] * 5)
    got = overlaps(boxes.reshape(9, 4), others.reshape(5, 4))
    assert got == pytest.approx(expected, abs=1e-12)  # both in float64
    assert not found_in_each(np.zeros((0, 4)), others.reshape(5, 4), (30, 30)).any()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "decode returned a NoneType"),
        ({"boxes": [], "scores": [], "labels": []}, "decode returned a dict"),
        (([[1, 2, 3, 4]], [0.5]), "decode returned a tuple of 2"),
        (([[1, 2, 3, 4]], [0.5], ["dog"]), "decode returned classes of <U3"),
        (([[1, 2, 3, 4]], [2], [0.75]), "decode returned the class 0.75, which is no integer"),
        (([[1, 2, 3, 4]], [np.nan], [0]), "decode returned scores that are NaN or infinite"),
        (([[1, 2, np.inf, 4]], [0.5], [0]), "decode returned boxes that are NaN or infinite"),
        (([[1, 2, 3, 4], [1]], [0.5], [0]), "decode returned no arrays"),
        (([[1, 2, 3]], [0.5], [0]), r"decode returned boxes \[1, 3\]"),
    ],
)
def test_what_is_no_box_is_refused(returned: Any, said: str) -> None:
    """NaN, a dict or scores in the place of classes gave a figure, or an internal error."""
    with pytest.raises(DataError, match=said):
        decoded(lambda outputs: returned, [np.zeros(3)])


def test_lists_without_a_box_are_no_boxes() -> None:
    assert len(decoded(lambda outputs: ([], [], []), []).scores) == 0
    found = checked(np.ones((1, 4)), np.ones((1, 1)), np.array([2.0]), "it gives")
    assert found.classes.tolist() == [2]


def opened(folder: Path, labels: tuple[str, ...] | None = None) -> list[CocoImage]:
    return [image for _, image in labeled(folder, labels).pairs]


def labeled(folder: Path, labels: tuple[str, ...] | None = None) -> Labeled[CocoImage]:
    manifest = made_manifest((1, 3, SIZE, SIZE), (1, 2, 6), preprocessing=LETTERBOX, labels=labels)
    (folder / "mine.py").write_text("def decode(outputs):\n    return [], [], []\n")
    task = Detection(f"{folder / 'mine.py'}:decode")
    return task.open(folder / "images", folder / "coco.json", manifest)


def test_labels_that_are_no_categories_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made_coco(tmp_path)
    opened(tmp_path, ("dog", "Cat", "bird"))
    assert "no label of the bundle is the category 'cat' of" in caplog.text
    assert "did you mean 'Cat'" in caplog.text
    caplog.clear()
    opened(tmp_path, ("DOG", "CAT", "BIRD"))
    assert (
        "so its classes are taken for the categories in the order of their numbers" in caplog.text
    )
    caplog.clear()
    opened(tmp_path, ("background", *KINDS))
    assert not caplog.records


def test_boxes_that_count_for_nothing_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, document = made_coco(tmp_path)
    (tmp_path / "images" / "3.png").unlink()
    document["annotations"].append({**document["annotations"][0], "image_id": 999})
    written(tmp_path, document)
    with caplog.at_level(logging.WARNING):
        assert len(opened(tmp_path)) == 19
    assert "has annotated images that are not in" in caplog.text
    assert "'3.png'" in caplog.text
    assert "has boxes of images that it does not list" in caplog.text
    assert "999" in caplog.text


def test_boxes_that_are_not_cocos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, document = made_coco(tmp_path)
    right = [each["bbox"] for each in document["annotations"]]
    for each, (x, y, w, h) in zip(document["annotations"], right, strict=True):
        each["bbox"] = [x + 20, y + 20, x + w + 20, y + h + 20]
    written(tmp_path, document)
    opened(tmp_path)
    assert "reach beyond their image" in caplog.text
    for each, box in zip(document["annotations"], right, strict=True):
        each["bbox"] = [side / (2 * SIZE) for side in box]
    written(tmp_path, document)
    with pytest.raises(DataError, match=r"no number of the boxes of .* is above 1"):
        opened(tmp_path)


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path) -> None:
    """As pycocotools judges the images that have results."""
    made_coco(tmp_path)
    Image.new("RGB", (40, 80)).save(tmp_path / "images" / "3.png")
    (tmp_path / "images" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    data = labeled(tmp_path)
    assert {image.number for _, image in data.pairs} == set(range(20)) - {3, 5}
    of_size, damaged = sorted(data.skipped)
    assert re.fullmatch(r"3\.png is 40x80 pixels, and \S+coco\.json says 80x80", of_size)
    assert damaged.startswith("5.png ")


def test_an_image_that_its_exif_orientation_turns(tmp_path: Path) -> None:
    """All that one camera took would be left out, and their boxes lie elsewhere."""
    _, document = made_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 80)).save(tmp_path / "images" / "5.png", exif=exif)
    document["images"][5].update(width=60, height=80)
    written(tmp_path, document)
    with pytest.raises(DataError, match=r"says 60x80\nhint: .* exif_rotation = false"):
        opened(tmp_path)
    document["images"][5].update(width=80, height=60)
    written(tmp_path, document)
    assert len(opened(tmp_path)) == 20


def test_names_with_the_folder_are_found(tmp_path: Path) -> None:
    """Many tools write ``images/3.png`` for what lies in the folder ``images``."""
    _, document = made_coco(tmp_path)
    for image in document["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    written(tmp_path, document)
    assert len(opened(tmp_path)) == 20
