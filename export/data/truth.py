"""Samples with what is true of them: a class, a mask, an array of targets, or boxes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgeconv.array_file import StoredArray, listed, open_arrays
from edgeconv.bundle import Manifest, sha256_of
from edgeconv.errors import DataError, MismatchedData, UsageError
from edgeconv.export.data.arrays import ArrayFile
from edgeconv.export.data.decode import ImageFile
from edgeconv.export.data.images import Images, has_images, open_images
from edgeconv.export.data.samples import Sample
from edgeconv.near_names import near_paths
from edgeconv.tar_file import TarMember

T = TypeVar("T")


class MisfitTruth(DataError):  # noqa: N818  # what was met, as in edgeconv.errors
    """What is stated of one image is of another picture.

    Attributes:
        reason: What is wrong, without the name of the image.
    """

    def __init__(self, file: ImageFile, reason: str) -> None:
        super().__init__(f"{file} {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Labeled(Generic[T]):
    """Samples with what is true of each.

    Attributes:
        read: Yields each of the samples of some rising indices with its truth.
        total: How many there are, if all are readable.
        skipped: The names of samples that cannot be used and why, complete when all pairs were
            read.
        sha256: Hashes the data, when all pairs were read.
    """

    read: Callable[[Sequence[int]], Iterator[tuple[Sample, T]]]
    total: int
    skipped: list[str]
    sha256: Callable[[], str]

    @property
    def pairs(self) -> Iterator[tuple[Sample, T]]:
        """Each sample with its truth."""
        return self.read(range(self.total))

    def spread(self, count: int) -> Iterator[tuple[Sample, T]]:
        """At most ``count`` samples with their truth, at even distances from the first one on.

        In a folder of classes the first ones would be of the first classes.
        """
        taken = min(count, self.total)
        return self.read([index * self.total // taken for index in range(taken)])


def images_with_truths(images: Images, truth_of: Callable[[int], T], *others: Path) -> Labeled[T]:
    """Images with what is true of each.

    Args:
        images: The images.
        truth_of: The truth of an image, by its index. An image of which it raises MisfitTruth is
            left out, as one that cannot be read.
        others: The files that the truths are from, of those that are not beside their image.
    """
    indices = {image.name: i for i, image in enumerate(images.stored)}

    def read(asked: Sequence[int]) -> Iterator[tuple[Sample, T]]:
        for name, sample in images.read(asked):
            try:
                truth = truth_of(indices[name])
            except MisfitTruth as error:
                images.skipped.append(f"{name} {error.reason}")
                continue
            yield sample, truth

    return Labeled(
        read,
        len(images),
        images.skipped,
        lambda: fingerprint(images, others),
    )


def images_at(path: Path, manifest: Manifest) -> Images:
    """Open a folder or a tar of images for a network.

    Raises:
        UsageError: There is none, or the network does not take one image.
        DataError: It is damaged, or holds no images.
    """
    if not has_images(path):
        hint = near_paths(path, "pass one with --data")
        raise UsageError(f"{path}: no such folder of images", hint=hint)
    return open_images(path, manifest.inputs, manifest.preprocessing)


def fingerprint(images: Images, others: Sequence[Path] = ()) -> str:
    """The SHA-256 of the names of all files and the SHA-256 of each."""
    digest = hashlib.sha256()
    for image in images.stored:
        file = image.file
        content = file.sha256() if isinstance(file, TarMember) else sha256_of(file)
        digest.update(f"{image.name}\0{content}\n".encode("utf-8", "surrogateescape"))
        if image.label is not None:
            digest.update(f"\0{image.label.sha256()}\n".encode())
    for other in others:
        digest.update(f"\0{sha256_of(other)}\n".encode())
    return digest.hexdigest()


def npz_with_truths(
    path: Path, manifest: Manifest, kinds: str, wanted: str
) -> tuple[ArrayFile, StoredArray]:
    """Open the samples of an ``.npz`` file, and its array ``y``.

    Args:
        path: The file.
        manifest: Describes the network.
        kinds: The kinds of dtype that ``y`` may have, as NumPy's letters.
        wanted: What ``y`` holds, for the message.

    Raises:
        UsageError: There is no such file.
        DataError: An array is missing, damaged or of another length.
    """
    truths = open_arrays(path).get("y")
    if truths is None or truths.dtype.kind not in kinds:
        found = listed(open_arrays(path)) if truths is None else f"'y' of {truths.dtype}"
        raise MismatchedData(
            f"{path} has no array 'y' of {wanted}; it has {found}",
            hint=f"store {wanted} as 'y' beside 'x', a row for each sample",
        )
    samples = ArrayFile(path, manifest.inputs, manifest.preprocessing)
    if len(truths) != len(samples):
        raise DataError(
            f"{path} has {len(samples)} samples and {len(truths)} labels",
            hint="store a row of y for each row of x",
        )
    return samples, truths


def rows_with_truths(samples: ArrayFile, truths: StoredArray) -> Labeled[npt.NDArray[np.generic]]:
    """The samples of an ``.npz`` file, each with its row of ``y``."""
    return Labeled(
        lambda asked: ((sample, truths.row(int(name))[0]) for name, sample in samples.read(asked)),
        len(samples),
        samples.skipped,
        lambda: sha256_of(samples.path),
    )


def as_path(data: Any, what: str) -> Path:
    """The path that ``data`` is.

    Raises:
        UsageError: It is another object.
    """
    if isinstance(data, (str, Path)):
        return Path(data)
    raise UsageError(
        f"{what} cannot be read from a {type(data).__name__}", hint="pass the path of a file"
    )
