"""Images with boxes, as COCO's JSON states them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, UsageError
from edgeconv.export.data.json_lists import read_lists
from edgeconv.export.data.truth import Labeled, images_at, images_with_truths
from edgeconv.near_names import not_a_file
from edgeconv.versioned import first_problem, read_document

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
        The images, and the dataset that pycocotools takes.

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
    names = [str(each.within) for each in stored.stored]
    asked = frozenset(names)
    images = {
        image.file_name: CocoImage(image.id, image.width, image.height)
        for image in whole.images
        if image.file_name in asked
    }
    unknown = next((each for each in stored.stored if str(each.within) not in images), None)
    if unknown is not None:
        raise DataError(
            f"{truth} does not list {unknown.file}", hint="pass the images that it annotates"
        )
    numbers = frozenset(image.number for image in images.values())
    return images_with_truths(stored, lambda i: images[names[i]], truth), _dataset(whole, numbers)


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
        "images": [{"id": number} for number in sorted(numbers)],
        "annotations": annotations,
        "categories": [asdict(category) for category in whole.categories],
    }
