"""Boxes from the input's frame back to the image, and COCO's figures by hand."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.coco import CocoImage
from edgeconv.export.data.fit import fitted, place
from edgeconv.export.tasks import open_task
from edgeconv.export.tasks.detection import Detection
from edgeconv.preprocessing import Fit, Preprocessing
from support.manifests import made_manifest

LETTERBOX = Preprocessing(fit=Fit.LETTERBOX, mean=(0.0,) * 3, std=(1.0,) * 3)


@given(
    image=st.tuples(st.integers(8, 200), st.integers(8, 200)),
    fit=st.sampled_from(Fit),
    resize=st.sampled_from([None, 40]),
)
def test_a_place_is_where_the_image_lies(
    image: tuple[int, int], fit: Fit, resize: int | None
) -> None:
    """A ramp across the image is, in the input, the ramp of that place."""
    how = Preprocessing(fit=fit, resize=None if fit is Fit.LETTERBOX else resize)
    ramp = np.tile(np.linspace(0, 255, image[0]).round().astype(np.uint8), (image[1], 1))
    pixels = fitted(Image.fromarray(ramp), (32, 24), how)
    at = place(image, (32, 24), how)
    columns = np.arange(24)
    inside = (columns >= at.left) & (columns < at.left + at.width)
    # The value under a pixel's center, had the image no end: at its edges the ramp is flat.
    centers = (columns[inside] + 0.5 - at.left) * image[0] / at.width - 0.5
    wanted = np.interp(centers, np.arange(image[0]), np.linspace(0, 255, image[0]))
    step = 255 / (image[0] - 1) * max(1.0, image[0] / at.width)
    # In the middle of a flat image: further out lies the border.
    row = int(np.clip(at.top + at.height / 2, 0, 31))
    assert np.abs(pixels[row][inside] - wanted).max() <= 1 + step


needs_pycocotools = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("pycocotools"),
    reason="pycocotools is not installed (extra coco)",
)


def made_coco(folder: Path, boxes: dict[str, list[tuple[int, list[float]]]]) -> Path:
    """Images of 40x20 pixels, and the JSON with their boxes (category, [x, y, w, h])."""
    (folder / "images").mkdir()
    annotations, images = [], []
    for number, (name, each) in enumerate(boxes.items(), 7):
        Image.new("RGB", (40, 20), (number, 9, 200)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": 40, "height": 20})
        for category, box in each:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": box,
                }
            )
    categories = [{"id": 3, "name": "cat"}, {"id": 18, "name": "dog"}]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "coco.json").write_text(text)
    return folder / "coco.json"


BOXES = {
    "a.png": [(3, [4.0, 2.0, 10.0, 10.0]), (18, [20.0, 5.0, 12.0, 8.0])],
    "b.png": [(3, [0.0, 0.0, 20.0, 20.0])],
}
# In the letterbox of 20x20 an image of 40x20 is half as large and begins 5 pixels below the top.
CORNERS = {
    7: [([2.0, 6.0, 7.0, 11.0], 0), ([10.0, 7.5, 16.0, 11.5], 1)],
    8: [([0.0, 5.0, 10.0, 15.0], 0)],
}


def outputs(found: list[tuple[list[float], float, int]], most: int = 4) -> list[Any]:
    """Boxes [1, M, 4], scores and classes of one sample, filled up with a class of no name."""
    boxes, scores, classes = np.zeros((1, most, 4)), np.zeros((1, most)), np.full((1, most), 9)
    for index, (box, score, kind) in enumerate(found):
        boxes[0, index], scores[0, index], classes[0, index] = box, score, kind
    return [boxes.astype(np.float32), scores.astype(np.float32), classes]


def opened(folder: Path, **changes: Any) -> tuple[Detection, list[CocoImage]]:
    task = Detection()
    manifest = manifest_of_boxes().model_copy(update=changes)
    labeled = task.open(folder / "images", made_coco(folder, BOXES), manifest)
    return task, [image for _, image in labeled.pairs]


@needs_pycocotools
def test_the_mean_average_precision(tmp_path: Path) -> None:
    """Every box found gives 1; without b's, the cat's recall ends at 1/2: 51 of 101 points."""
    task, images = opened(tmp_path)
    perfect = [
        task.count(outputs([(box, 0.9, kind) for box, kind in CORNERS[each.number]]), [each])
        for each in images
    ]
    whole = task.score(task.merge(perfect), None)
    assert [figure.value for figure in whole.figures] == pytest.approx([1.0, 1.0])
    assert [figure.name for figure in whole.figures] == ["mAP .5:.95", "mAP .5"]
    assert whole.figures == task.score(task.merge([task.merge(perfect)]), None).figures
    missed = [perfect[0], task.count(outputs([]), images[1:])]
    expected = (51 / 101 + 1) / 2
    found = task.score(task.merge(missed), None)
    assert [figure.value for figure in found.figures] == pytest.approx([expected] * 2)
    # A box of b that covers 60 % of the cat counts at .5, .55 and .6 only.
    partly = [perfect[0], task.count(outputs([([0.0, 5.0, 6.0, 15.0], 0.9, 0)]), images[1:])]
    found = task.score(task.merge(partly), None)
    over_all = (3 * 1.0 + 7 * 51 / 101 + 10) / 20
    assert [figure.value for figure in found.figures] == pytest.approx([over_all, 1.0])
    nothing = task.score(task.count(outputs([]), images[:1]), None)
    assert nothing.figures[0].value == 0


@needs_pycocotools
def test_classes_by_their_names(tmp_path: Path) -> None:
    task, images = opened(tmp_path, labels=("background", "dog", "cat"))
    kinds = {0: 2, 1: 1}
    found = task.merge(
        [
            task.count(outputs([(b, 0.9, kinds[k]) for b, k in CORNERS[each.number]]), [each])
            for each in images
        ]
    )
    assert task.score(found, None).figures[0].value == pytest.approx(1.0)


@needs_pycocotools
def test_a_function_that_decodes(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def decode(outputs):\n    x = outputs[0]\n    return x[:, :4], x[:, 4], x[:, 5]\n"
        "def wrong(outputs):\n    return outputs[0], outputs[0], outputs[0]\n"
        "def raises(outputs):\n    boxes, scores = outputs\n"
    )
    manifest = made_manifest((1, 3, 20, 20), (1, 2, 6), preprocessing=LETTERBOX)
    made_coco(tmp_path, BOXES)
    results = []
    for name in ("decode", "wrong", "raises"):
        task = open_task(f"detection:{tmp_path / 'mine.py'}:{name}")
        labeled = task.open(tmp_path / "images", tmp_path / "coco.json", manifest)
        results.append((task, [image for _, image in labeled.pairs]))
    (task, images), (wrong, _), (raises, _) = results
    rows = np.array([[[*box, 0.9, kind] for box, kind in CORNERS[7]]], np.float32)
    assert task.score(task.count([rows], images[:1]), None).figures[0].value == pytest.approx(1.0)
    with pytest.raises(DataError, match=r"decode returned boxes \[2, 6\]"):
        wrong.count([rows], images[:1])
    with pytest.raises(DataError, match="decode raised ValueError") as raised:
        raises.count([rows], images[:1])
    assert raised.value.hint.endswith("it got outputs of shape [2, 6]")


@needs_pycocotools
def test_boxes_scores_and_classes_in_one_output(tmp_path: Path) -> None:
    """As YOLO's networks give them after suppression; scores of two classes are no classes."""
    manifest = made_manifest((1, 3, 20, 20), (1, 2, 6), preprocessing=LETTERBOX)
    task = open_task("detection")
    file = made_coco(tmp_path, BOXES)
    images = [image for _, image in task.open(tmp_path / "images", file, manifest).pairs]
    rows = np.array([[[*box, 0.9, kind] for box, kind in CORNERS[7]]], np.float32)
    assert task.score(task.count([rows], images[:1]), None).figures[0].value == pytest.approx(1.0)
    rows[..., 5] = 0.25
    with pytest.raises(DataError, match=r"the network gives the class 0.25, which is no integer"):
        task.count([rows], images[:1])


@needs_pycocotools
def test_data_that_does_not_fit(tmp_path: Path) -> None:
    manifest = made_manifest((1, 3, 20, 20), (1, 84, 100), preprocessing=LETTERBOX)
    with pytest.raises(UsageError, match=r"'y0' float32 \[1, 84, 100\]\nhint: .*detection:file.py"):
        Detection().open(tmp_path, tmp_path / "coco.json", manifest)
    made_coco(tmp_path, BOXES)
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "c.png")
    with pytest.raises(DataError, match=r"coco.json does not list .*c.png"):
        opened_again(tmp_path)
    (tmp_path / "coco.json").write_text("{}")
    with pytest.raises(DataError, match="is not COCO's JSON"):
        opened_again(tmp_path)


def changed(document: dict[str, Any], place: str, key: str, value: Any) -> str:
    return json.dumps({**document, place: [{**document[place][0], key: value}]})


@needs_pycocotools
@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("images", "id", float("inf")),
        ("images", "id", 2**63),
        ("images", "id", None),
        ("images", "id", [7]),
        ("images", "width", 0),
        ("images", "height", -20),
        ("images", "width", 10**400),
        ("images", "file_name", None),
        ("annotations", "bbox", [0.0, 0.0, float("nan"), 1.0]),
        ("annotations", "bbox", [0.0, 0.0, -3.0, 1.0]),
        ("annotations", "bbox", [0.0, 0.0, 1e300, 1e300]),
        ("annotations", "bbox", [[0.0], [0.0], [1.0], [1.0]]),
        ("annotations", "bbox", [1.0]),
        ("annotations", "area", "all"),
        ("annotations", "area", float("nan")),
        ("annotations", "image_id", [7]),
        ("annotations", "category_id", {"id": 3}),
        ("annotations", "category_id", 99),
        ("annotations", "iscrowd", "yes"),
        ("categories", "id", float("nan")),
        ("categories", "name", 3),
    ],
)
def test_json_that_lies(tmp_path: Path, place: str, key: str, value: Any) -> None:
    file = made_coco(tmp_path, BOXES)
    file.write_text(changed(json.loads(file.read_text()), place, key, value))
    with pytest.raises(
        DataError, match=r"^.*coco\.json (is not COCO's JSON|has a box of)"
    ) as caught:
        opened_again(tmp_path)
    assert len(str(caught.value)) < 2000


@needs_pycocotools
def test_json_without_end_or_with_everything_twice(tmp_path: Path) -> None:
    file = made_coco(tmp_path, BOXES)
    document = json.loads(file.read_text())
    for text, said in (
        ("[" * 100_000, "is not COCO's JSON of boxes: { is missing: line 1 column 1"),
        ('{"images": ' + "[" * 100_000, "is not COCO's JSON of boxes: "),
        ("{}", "is not COCO's JSON of boxes: images: it is missing"),
        ('{"images": [], "annotations": [],}', "is not COCO's JSON of boxes: Expecting value"),
        ('{"images": 3}', r"is not COCO's JSON of boxes: \[ is missing: line 1 column 12"),
        (file.read_text() + "x", "is not COCO's JSON of boxes: Extra data"),
        (file.read_text()[:-1], "is not COCO's JSON of boxes: , or } is missing"),
        (json.dumps({**document, "images": document["images"] * 2}), "several images of number 7"),
        (json.dumps({**document, "categories": document["categories"] * 2}), "several categories"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=said):
            opened_again(tmp_path)


@needs_pycocotools
def test_a_long_list_takes_little_memory(tmp_path: Path) -> None:
    """What is kept of an image is less than what a table of it takes; outlines are dropped."""
    file = made_coco(tmp_path, BOXES)
    document = json.loads(file.read_text())
    document["images"] += [
        {"id": 1000 + i, "file_name": f"{i:012d}.jpg", "width": 640, "height": 480}
        for i in range(20_000)
    ]
    box = {"image_id": 7, "category_id": 3, "bbox": [0.5, 0.5, 2.5, 2.5], "iscrowd": 0}
    outline = {"segmentation": [[*range(300)]]}
    document["annotations"] += [{**box, **outline} for _ in range(1000)]
    file.write_text(json.dumps(document))
    opened_again(tmp_path)  # what is imported and compiled once is not counted
    tracemalloc.start()
    opened_again(tmp_path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The text as bytes and decoded, and some 300 bytes of each image.
    assert most < 2 * file.stat().st_size + 20_000 * 350


@needs_pycocotools
@pytest.mark.parametrize("numbers", [(0, 1, 2), (5, 5, 5), (None, None, None)])
def test_the_numbers_of_boxes_do_not_matter(
    tmp_path: Path, numbers: tuple[int | None, ...]
) -> None:
    """Of a match with a box of number 0 pycocotools makes a false alarm."""
    task, images = opened(tmp_path)
    file = tmp_path / "coco.json"
    document = json.loads(file.read_text())
    for annotation, number in zip(document["annotations"], numbers, strict=True):
        annotation["id"] = number
    file.write_text(json.dumps(document))
    task.open(tmp_path / "images", file, manifest_of_boxes())
    found = [
        task.count(outputs([(box, 0.9, kind) for box, kind in CORNERS[each.number]]), [each])
        for each in images
    ]
    assert task.score(task.merge(found), None).figures[0].value == pytest.approx(1.0)


def opened_again(folder: Path) -> None:
    Detection().open(folder / "images", folder / "coco.json", manifest_of_boxes())


def manifest_of_boxes() -> Manifest:
    manifest = made_manifest((1, 3, 20, 20), (1, 4, 4), (1, 4), (1, 4), preprocessing=LETTERBOX)
    kinds = manifest.outputs[2].model_copy(update={"dtype": "int64"})
    return manifest.model_copy(update={"outputs": (*manifest.outputs[:2], kinds)})
