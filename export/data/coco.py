"""Images with boxes, as COCO's JSON states them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.truth import Labeled, images_at, images_with_truths
from edgeconv.near_names import near_paths


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file: its number there, and its size in pixels."""

    number: int
    width: int
    height: int


def open_coco(
    data: Path, truth: Path | None, manifest: Manifest
) -> tuple[Labeled[CocoImage], dict[str, Any]]:
    """Open a folder or a tar of images with the JSON that annotates them.

    Args:
        data: The folder or archive; every image in it is annotated, or at least listed.
        truth: The JSON, such as ``instances_val2017.json``.
        manifest: Describes the network.

    Returns:
        The images, and the whole JSON.

    Raises:
        UsageError: There is no such data.
        DataError: The JSON is damaged, or does not list an image.
    """
    stored = images_at(data, manifest)
    if truth is None or not truth.is_file():
        wanted = "pass COCO's JSON, such as instances_val2017.json, with --truth"
        raise UsageError(
            f"the boxes in {data} are not stated" if truth is None else f"{truth}: no such file",
            hint=near_paths(truth or Path(), wanted),
        )
    try:
        whole: dict[str, Any] = json.loads(truth.read_text("utf-8"))
        images = {
            image["file_name"]: CocoImage(
                int(image["id"]), int(image["width"]), int(image["height"])
            )
            for image in whole["images"]
        }
        for annotation in whole["annotations"]:
            _, _, width, height = annotation["bbox"]
            annotation.setdefault("area", width * height)
            annotation.setdefault("iscrowd", 0)
            _ = annotation["id"], annotation["image_id"], annotation["category_id"]
        _ = [(category["id"], category["name"]) for category in whole["categories"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{truth} is not COCO's JSON of boxes", hint="pass one of its instances_*.json"
        ) from error
    unknown = next((each for each in stored.stored if str(each.within) not in images), None)
    if unknown is not None:
        raise DataError(
            f"{truth} does not list {unknown.file}", hint="pass the images that it annotates"
        )
    names = [str(each.within) for each in stored.stored]
    return images_with_truths(stored, lambda i: images[names[i]], truth), whole
