"""Images with boxes, as COCO's JSON states them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, Notice, UsageError
from edgeconv.export.data.decode import shown_size
from edgeconv.export.data.images import Images, StoredImage
from edgeconv.export.data.json_lists import read_lists
from edgeconv.export.data.truth import Labeled, MisfitTruth, images_at, images_with_truths
from edgeconv.near_names import not_a_file
from edgeconv.preprocessing import Preprocessing
from edgeconv.versioned import first_problem, read_document

logger = logging.getLogger(__name__)

# Where so much of the boxes reach so far beyond their image, by its size, they are no extents.
_MOST_BEYOND, _BEYOND = 0.05, 0.05

# Numbers go through arrays of float64, which hold these exactly.
_Number = Annotated[int, Field(gt=-(2**53), lt=2**53)]
_Side = Annotated[int, Field(ge=1, le=1_000_000_000)]
_Place = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
_Extent = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file: its number there, and its size in pixels."""

    number: int
    width: int
    height: int


# Millions of each: with slots, they take a fourth of the memory of pydantic's models.
@dataclass(frozen=True, slots=True)
class _Image:
    id: _Number
    file_name: str
    width: _Side
    height: _Side


@dataclass(frozen=True, slots=True)
class _Annotation:
    """A box [x, y, width, height] in pixels of its image; all else that it may have is left out."""

    image_id: _Number
    category_id: _Number
    bbox: tuple[_Place, _Place, _Extent, _Extent]
    area: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    iscrowd: Annotated[int, Field(ge=0, le=1)] = 0


@dataclass(frozen=True, slots=True)
class _Category:
    id: _Number
    name: str


@dataclass(frozen=True)
class _Document:
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def open_coco(
    data: Path, truth: Path | None, manifest: Manifest
) -> tuple[Labeled[CocoImage], dict[str, Any]]:
    """Open a folder or a tar of images with the JSON that annotates them.

    Args:
        data: The folder or archive; every image in it is annotated, or at least listed.
        truth: The JSON, such as ``instances_val2017.json``.
        manifest: Describes the network.

    Returns:
        The images, and the dataset that pycocotools takes. An image of another size than the JSON
        says is left out, as one that cannot be read.

    Raises:
        UsageError: There is no such data.
        DataError: The JSON is damaged or contradicts itself, or does not list an image.
        LimitExceeded: The JSON is too large.
    """
    stored = images_at(data, manifest)
    wanted = "pass COCO's JSON, such as instances_val2017.json, with --truth"
    if truth is None:
        raise UsageError(f"the boxes in {data} are not stated", hint=wanted)
    if not truth.is_file():
        raise not_a_file(truth, wanted)
    whole = _read(truth)
    images = _listed(whole, stored, truth)
    numbers = frozenset(image.number for image in images)
    _check_boxes(whole, truth)
    _warn_of_rest(whole, numbers, truth, data)
    how = manifest.preprocessing or Preprocessing()

    def truth_of(index: int) -> CocoImage:
        image, file = images[index], stored.stored[index].file
        shown = shown_size(file, exif_rotation=how.exif_rotation)
        if shown == (image.width, image.height):
            return image
        reason = f"is {shown[0]}x{shown[1]} pixels, and {truth} says {image.width}x{image.height}"
        if shown == (image.height, image.width) and how.exif_rotation:
            raise DataError(
                f"{file} {reason}",
                hint="annotate images in the direction in which they are shown, or export with "
                "exif_rotation = false in --preprocess",
            )
        raise MisfitTruth(file, reason)

    return images_with_truths(stored, truth_of, truth), _dataset(whole, numbers)


def _listed(whole: _Document, stored: Images, truth: Path) -> list[CocoImage]:
    """The image of the JSON for each file, by its path in the folder, or with the folder's name.

    Raises:
        DataError: The JSON does not list a file.
    """

    def names_of(image: StoredImage) -> tuple[str, str]:
        return str(image.within), f"{stored.path.name}/{image.within}"

    asked = {name for image in stored.stored for name in names_of(image)}
    known = {
        image.file_name: CocoImage(image.id, image.width, image.height)
        for image in whole.images
        if image.file_name in asked
    }
    found = []
    for image in stored.stored:
        name = next((name for name in names_of(image) if name in known), None)
        if name is None:
            first = f", whose first is {whole.images[0].file_name!r}" if whole.images else ""
            raise DataError(
                f"{truth} does not list {image.file}",
                hint=f"pass the folder of the {len(whole.images)} images that it lists{first}, and "
                "of no others",
            )
        found.append(known[name])
    return found


def _check_boxes(whole: _Document, truth: Path) -> None:
    """Refuse boxes in shares of their image, and warn of those that look like corners.

    Raises:
        DataError: No box is as much as a pixel large.
    """
    boxes = whole.annotations
    if boxes and max(max(each.bbox) for each in boxes) <= 1:
        raise DataError(
            f"no number of the boxes of {truth} is above 1",
            hint="state boxes as COCO does: x, y, width and height in pixels of the image",
        )
    sizes = {image.id: (image.width, image.height) for image in whole.images}
    beyond = sum(
        _reaches_beyond(each.bbox, sizes[each.image_id]) for each in boxes if each.image_id in sizes
    )
    if beyond > _MOST_BEYOND * len(boxes):
        logger.warning(
            Notice(
                f"{beyond} of the {len(boxes)} boxes of {truth} reach beyond their image",
                "COCO's boxes are x, y, width and height, not corners",
            )
        )


def _reaches_beyond(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    ends = box[0] + box[2], box[1] + box[3]
    return any(end > side * (1 + _BEYOND) + 1 for end, side in zip(ends, size, strict=True))


def _warn_of_rest(whole: _Document, numbers: Set[int], truth: Path, data: Path) -> None:
    """Warn of boxes that count for nothing, because their image is not there."""
    missing = {image.id: image.file_name for image in whole.images if image.id not in numbers}
    annotated = {each.image_id for each in whole.annotations}
    lost = [name for number, name in missing.items() if number in annotated]
    if lost:
        logger.warning(
            Notice(
                f"{truth} has annotated images that are not in {data}: {lost[0]!r}{_others(lost)}",
                f"the figures are of the {len(numbers)} images that are there",
            )
        )
    strange = sorted(annotated - missing.keys() - numbers)
    if strange:
        logger.warning(
            Notice(
                f"{truth} has boxes of images that it does not list: number {strange[0]}"
                f"{_others(strange)}",
                "they count for nothing; list the images, or remove the boxes",
            )
        )


def _others(named: Sequence[Any]) -> str:
    return f" and {len(named) - 1} more" if len(named) > 1 else ""


def _read(truth: Path) -> _Document:
    """Read and check the JSON.

    Raises:
        DataError: It is damaged, or contradicts itself.
        LimitExceeded: It is too large.
    """
    hint = "pass one of COCO's instances_*.json, or one of that form"
    made = {"images": _Image, "annotations": _Annotation, "categories": _Category}
    try:
        text = read_document(truth).decode("utf-8")
        found = read_lists(text, {name: _maker(kind) for name, kind in made.items()})
    except ValueError as error:
        raise DataError(f"{truth} is not COCO's JSON of boxes: {error}", hint=hint) from error
    whole = _Document(**found)
    for what, all_of in (
        ("images of number", [image.id for image in whole.images]),
        ("images of name", [image.file_name for image in whole.images]),
        ("categories of number", [category.id for category in whole.categories]),
    ):
        twice = next((each for each, count in Counter(all_of).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{truth} lists several {what} {twice!r}", hint=hint)
    known = {category.id for category in whole.categories}
    strange = next((a.category_id for a in whole.annotations if a.category_id not in known), None)
    if strange is not None:
        raise DataError(f"{truth} has a box of category {strange}, which it lacks", hint=hint)
    return whole


def _maker(kind: type[Any]) -> Callable[[Any], Any]:
    """What checks an item of one of the lists."""
    validate = TypeAdapter(kind).validate_python

    def made(item: Any) -> Any:
        try:
            return validate(item)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error

    return made


def _dataset(whole: _Document, numbers: Set[int]) -> dict[str, Any]:
    """What pycocotools takes, of the images of some numbers.

    Boxes are numbered anew: pycocotools takes a match with a box of number 0 for none, and of
    numbers that occur twice it keeps one.
    """
    annotations = []
    asked = (each for each in whole.annotations if each.image_id in numbers)
    for number, each in enumerate(asked, 1):
        _, _, width, height = each.bbox
        area = width * height if each.area is None else each.area
        fields = {"id": number, "bbox": list(each.bbox), "area": area}  # it refuses a tuple
        annotations.append({**asdict(each), **fields})
    return {
        "images": [
            {"id": image.id, "width": image.width, "height": image.height}
            for image in sorted(whole.images, key=lambda image: image.id)
            if image.id in numbers
        ],
        "annotations": annotations,
        "categories": [asdict(category) for category in whole.categories],
    }
