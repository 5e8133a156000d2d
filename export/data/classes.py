"""Samples with their classes: class folders, WebDatasets, ImageNet as it is, arrays and objects."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeconv.bundle import Manifest
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.data.images import Images, has_images
from edgeconv.export.data.labeled import LabeledObject
from edgeconv.export.data.truth import (
    Labeled,
    images_at,
    images_with_truths,
    npz_with_truths,
    rows_with_truths,
)
from edgeconv.export.data.webdataset import class_of
from edgeconv.near_names import did_you_mean, near_paths

T = TypeVar("T")

_TRUTH_OF_IMAGENET = "ILSVRC2012_validation_ground_truth.txt"
# What the parts of a data set are called, a level above the class folders.
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})$")


def open_classes(
    data: Any, truth: Path | None, manifest: Manifest, classes: int | None
) -> Labeled[int]:
    """Open samples with the index of their class.

    Args:
        data: A folder or a tar with a folder of images per class, a WebDataset with ``.cls``,
            ImageNet's folder or tar of validation images, an ``.npz`` with ``x`` and ``y``, or an
            object as :class:`edgeconv.export.data.labeled.LabeledObject` takes it.
        truth: The folder of ImageNet's devkit, for its validation images.
        manifest: Describes the network.
        classes: How many classes the network has; None where any label will do.

    Raises:
        UsageError: There is no such data.
        DataError: It is damaged, or has other classes than the network.
    """
    if not isinstance(data, Path):
        found = LabeledObject(data, manifest.inputs, manifest.preprocessing, classes or 2**31)
        return Labeled(lambda asked: _at(found, asked), found.count(), [], lambda: found.sha256)
    if truth is not None:
        return _imagenet(images_at(data, manifest), truth, classes)
    if has_images(data):
        images = images_at(data, manifest)
        if images.labeled:
            return _webdataset(images, classes)
        return _class_folders(images, manifest, classes)
    if data.suffix != ".npz":
        kind = "neither a folder nor an .npz or .tar file" if data.exists() else "no such file"
        wanted = "pass a folder of images per class, a .tar of it, or an .npz with x and y"
        raise UsageError(f"{data}: {kind}", hint=near_paths(data, wanted))
    samples, labels = npz_with_truths(data, manifest, "iu", "integers")
    if len(labels.shape) != 1:
        raise MismatchedData(
            f"{data} has no array 'y' of one integer per sample: it is {list(labels.shape)}",
            hint="store the class index of each sample as 'y' beside 'x'",
        )
    values = labels.whole()
    if classes is not None and len(values) and not 0 <= values.min() <= values.max() < classes:
        raise DataError(
            f"{data} has labels from {values.min()} to {values.max()}, outside 0…{classes - 1}",
            hint="number the classes from 0",
        )
    rows = rows_with_truths(samples, labels)
    return Labeled(
        lambda asked: ((sample, int(label)) for sample, label in rows.read(asked)),
        rows.total,
        rows.skipped,
        rows.sha256,
    )


def _at(samples: Iterable[T], asked: Sequence[int]) -> Iterator[T]:
    """The samples of some rising indices, of what is only read in order."""
    wanted = iter(asked)
    next_one = next(wanted, None)
    for index, sample in enumerate(samples):
        if next_one is None:
            return
        if index == next_one:
            yield sample
            next_one = next(wanted, None)


def _webdataset(images: Images, classes: int | None) -> Labeled[int]:
    """Images with the index of their class in a file beside them, which is read with the image."""
    bare = [image for image in images.stored if image.label is None]
    if bare:
        raise DataError(
            f"{bare[0].file} has no .cls beside it, as {len(bare)} of {len(images)} images",
            hint="store the index of its class under its name with .cls at the end",
        )

    def truth_of(index: int) -> int:
        label = images.stored[index].label
        assert label is not None
        found = class_of(label)
        if classes is not None and found >= classes:
            raise DataError(
                f"{label} states class {found}, and the network has {classes} classes",
                hint="number the classes from 0",
            )
        return found

    return images_with_truths(images, truth_of)


def _class_folders(images: Images, manifest: Manifest, classes: int | None) -> Labeled[int]:
    loose = next((image for image in images.stored if len(image.within.parts) == 1), None)
    if loose is not None:
        hint = "sort the images as FOLDER/CLASS/image"
        if _NUMBER.search(loose.within.stem):
            hint = "for ImageNet's validation images pass --truth with the folder of its devkit"
        raise DataError(f"{loose.file} is not in a class folder", hint=hint)
    of_image = [image.within.parts[0] for image in images.stored]
    names = sorted(set(of_image))
    above = all(len(image.within.parts) > 2 for image in images.stored)
    instead = _one_level_down(images.path, names[0]) if above else None
    if instead is not None and all(name.lower() in _SPLITS for name in names):
        raise DataError(
            f"{images.path} has parts of a data set where class folders should be: "
            f"{', '.join(names)}",
            hint=instead,
        )
    index = (
        {name: place for place, name in enumerate(names)}
        if classes is None
        else _class_indices(images.path, names, classes, manifest.labels, instead)
    )
    return images_with_truths(images, lambda i: index[of_image[i]])


def _one_level_down(path: Path, name: str) -> str:
    """What to do where the class folders lie in a folder ``name`` of what was passed."""
    if path.is_dir():
        return f"if the class folders lie in {path / name}, pass that"
    return f"if the class folders lie in {name}, pack its content alone"


def _class_indices(
    path: Path,
    names: list[str],
    classes: int,
    labels: tuple[str, ...] | None,
    instead: str | None,
) -> dict[str, int]:
    """Find the class of each folder: by the bundle's labels, as a number, or in sorted order.

    Args:
        path: What holds the folders.
        names: Their names.
        classes: How many classes the network has.
        labels: Their names, if the bundle states them.
        instead: What to do where these folders have no images but folders.
    """
    spelled = [_spelled(label) for label in labels or ()]
    of_label = {label: spelled.index(label) for label in spelled}
    if labels and all(_spelled(name) in of_label for name in names):
        return {name: of_label[_spelled(name)] for name in names}
    if all(name.isdecimal() and int(name) < classes for name in names):
        return {name: int(name) for name in names}
    strange = [name for name in names if _spelled(name) not in of_label]
    # The sorted order of other names may be that of the labels; that of these need not be.
    folded = {label.casefold() for label in of_label}
    meant = [name for name in strange if _spelled(name).casefold() in folded]
    if labels and (meant or len(strange) < len(names)):
        wrong = (meant or strange)[0]
        raise DataError(
            f"{path / wrong} is named after no label of the bundle, and other folders are"
            if len(strange) < len(names)
            else f"{path / wrong} is a label of the bundle in another spelling",
            hint=did_you_mean(wrong, labels, "name all folders by labels, or all by index"),
        )
    if len(names) == classes:
        return {name: index for index, name in enumerate(names)}
    folders = "1 class folder" if len(names) == 1 else f"{len(names)} class folders"
    hint = "name the folders by index, or by the labels given at export (--labels)"
    raise DataError(f"{path} has {folders} and the network {classes} outputs", hint=instead or hint)


def _spelled(name: str) -> str:
    """A name in one form of Unicode: some file systems take letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def _imagenet(images: Images, devkit: Path, classes: int | None) -> Labeled[int]:
    """ImageNet's validation images, of which the number in the name says which line is theirs."""
    truth, meta = _devkit(devkit)
    class_of = _classes_of_numbers(meta)
    if classes is not None and classes != len(class_of):
        raise MismatchedData(
            f"the network has {classes} classes, and {meta} has {len(class_of)}",
            hint="sort the images as FOLDER/CLASS/image, the folders named by index",
        )
    try:
        lines = [int(line) for line in truth.read_text("ascii").split()]
        of_line = [class_of[line] for line in lines]
    except (ValueError, KeyError) as error:
        raise DataError(
            f"{truth} is not a list of ImageNet's numbers of classes",
            hint="copy it again from the devkit",
        ) from error
    numbers = []
    for image in images.stored:
        number = _NUMBER.search(image.within.stem)
        if number is None or not 1 <= int(number[1]) <= len(of_line):
            raise DataError(
                f"{image.file} is not one of the {len(of_line)} validation images of {truth}",
                hint="pass the folder or tar of ILSVRC2012_val_00000001.JPEG and so on",
            )
        numbers.append(int(number[1]))
    return images_with_truths(images, lambda i: of_line[numbers[i] - 1], truth, meta)


def _devkit(path: Path) -> tuple[Path, Path]:
    """The two files that are needed of the devkit, as it unpacks or from its folder ``data``."""
    for folder in (path, path / "data"):
        files = folder / _TRUTH_OF_IMAGENET, folder / "meta.mat"
        if all(file.is_file() for file in files):
            return files
    raise UsageError(
        f"{path} has no data/{_TRUTH_OF_IMAGENET} and data/meta.mat",
        hint="unpack ILSVRC2012_devkit_t12.tar.gz, and pass its folder",
    )


def _classes_of_numbers(meta: Path) -> dict[int, int]:
    """The index of each of the devkit's numbers: networks have the classes sorted by WordNet ID."""
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise UsageError(
            "ImageNet's devkit needs SciPy",
            hint="install it with: pip install 'edgeconv[imagenet]'",
        ) from error
    try:
        synsets = np.atleast_1d(loadmat(meta, squeeze_me=True)["synsets"])
        leaves = synsets[synsets["num_children"].astype(int) == 0]
        numbers, names = leaves["ILSVRC2012_ID"].astype(int).tolist(), leaves["WNID"].tolist()
    except (MatReadError, ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise DataError(
            f"{meta} is not the meta.mat of ImageNet's devkit", hint="copy it again from the devkit"
        ) from error
    order = sorted(map(str, names))
    return {number: order.index(str(name)) for number, name in zip(numbers, names, strict=True)}
